#include "partition/manage.hpp"

#include "base/backoff.hpp"
#include "catalog/settings.hpp"

#include <algorithm>

namespace orchestry::partition {

namespace {

using base::Error;
namespace errc = base::errc;

constexpr const char* object_in_use = "55006";
/// One transaction of setup can hold about this many locks on new tables without needing more
/// shared memory than a default server has.
constexpr std::int64_t setup_locks = 3'000;
/// A table, its TOAST table and its TOAST index.
constexpr std::int64_t locks_per_table = 3;

/// Pauses between attempts to get the locks of a promotion.
constexpr std::int64_t lock_pause_base_us = base::us_per_second / 10;
constexpr std::int64_t lock_pause_cap_us = 2 * base::us_per_second;

void require_create_privilege(const Set& set) {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'CREATE'), "
            "pg_catalog.quote_ident(CURRENT_USER) "
            "FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1",
            static_cast<Oid>(set.relid));
    if (spi.row(0).boolean(1))
        return;
    throw Error(errc::insufficient_privilege, "the owner of table " + set.quoted +
                                                  " may not create tables in schema " + set.schema)
        .detail("New partitions are made in the schema of their table, by its owner.")
        .hint("Run GRANT CREATE ON SCHEMA " + set.schema + " TO " + spi.row(0).text(2) + ";");
}

/// A patch for alter_policy() that makes one policy of another.
std::string patch_between(const Settings& from, const std::string& from_schedule,
                          const Settings& to, const std::string& to_schedule) {
    const auto interval = [](const std::optional<base::Span>& span) {
        return span ? pg::param(*span) : pg::null_param(INTERVALOID);
    };
    const auto changed = [](const auto& before, const auto& after) { return before != after; };
    pg::Spi spi;
    spi.run("SELECT pg_catalog.jsonb_object_agg(c.key, c.value)::pg_catalog.text FROM (VALUES "
            "('every', $1, COALESCE(pg_catalog.to_jsonb($2), pg_catalog.to_jsonb($3))), "
            "('ahead', $4, COALESCE(pg_catalog.to_jsonb($5), pg_catalog.to_jsonb($6))), "
            "('past', $7, COALESCE(pg_catalog.to_jsonb($8), pg_catalog.to_jsonb($9))), "
            "('time_zone', $10, pg_catalog.to_jsonb($11)), ('name_pattern', $12, "
            "pg_catalog.to_jsonb($13)), "
            "('schedule', $14, pg_catalog.to_jsonb($15))) c(key, changed, value) WHERE c.changed",
            changed(from.every, to.every) || changed(from.every_keys, to.every_keys),
            interval(to.every), to.every_keys,
            changed(from.ahead, to.ahead) || changed(from.ahead_keys, to.ahead_keys),
            interval(to.ahead), to.ahead_keys,
            changed(from.past, to.past) || changed(from.past_keys, to.past_keys),
            to.every ? pg::param(to.past) : pg::null_param(INTERVALOID), to.past_keys,
            changed(from.time_zone, to.time_zone), to.time_zone,
            changed(from.name_pattern, to.name_pattern), to.name_pattern,
            changed(from_schedule, to_schedule), to_schedule);
    return spi.row(0).text(1);
}

/// Already there with these settings: true. With others: 42710.
bool is_known(const std::optional<StoredPolicy>& known, const Settings& settings,
              const std::string& schedule, const std::string& name) {
    if (!known)
        return false;
    const std::string known_schedule = catalog::get_job(known->job).schedule;
    if (known->settings == settings && known_schedule == schedule) {
        pg::report(NOTICE, "table " + name + " has this partition policy already");
        return true;
    }
    const std::string job = std::to_string(known->job.value);
    const std::string patch = patch_between(known->settings, known_schedule, settings, schedule);
    Error error(errc::duplicate_object,
                "table " + name + " has a partition policy with other settings");
    error.detail("It is job " + job + ".");
    if (known->settings.key_unit != settings.key_unit ||
        patch.empty()) // not to be changed in place
        error.hint("Run SELECT orchestry.remove_policy(" + job + "); and add the policy again.");
    else
        error.hint("Run SELECT orchestry.alter_policy(" + job + ", " + pg::quote_literal(patch) +
                   ");");
    throw error;
}

std::int64_t locks_per_partition(Oid parent) {
    const pg::OpenRelation relation(parent, AccessShareLock);
    return locks_per_table +
           pg::protect([&] { return list_length(RelationGetIndexList(relation.get())); });
}

/// Takes the locks that setup needs: those of ATTACH, or, where nothing is to be attached, one that
/// keeps out another setup. Returns how long was waited, in microseconds.
std::int64_t lock_for_runway(Oid parent, const CheckedPolicy& policy, base::Instant now,
                             std::int64_t budget_us) {
    const Set set = inspect(parent, policy.kind());
    check_size(set, policy.plan(), now);
    const std::vector<PlannedStep> steps = plan_inspected(set, policy.plan(), now);
    const bool attaches = std::any_of(steps.begin(), steps.end(), [](const PlannedStep& step) {
        return step.action == Action::create && step.blocked_by.empty();
    });
    return pg::lock_relations(
        attaches ? attach_locks(set)
                 : std::vector<pg::LockRequest>{{parent, ShareUpdateExclusiveLock}},
        budget_us);
}

/// Whether setup left something for the job.
enum class Leftover { nothing, something };

/// Makes what the policy wants now. Called with the locks of lock_for_runway() held.
Leftover make_runway(const Set& set, const CheckedPolicy& policy, base::Instant now) {
    Leftover leftover = Leftover::nothing;
    const std::vector<PlannedStep> steps = plan_inspected(set, policy.plan(), now);
    const std::int64_t limit =
        std::max<std::int64_t>(1, setup_locks / locks_per_partition(set.relid));
    std::int64_t made = 0;
    std::int64_t postponed = 0;
    for (const PlannedStep& step : steps) {
        pg::check_interrupts();
        if (step.action == Action::leave)
            continue;
        if (!step.blocked_by.empty()) {
            pg::report(WARNING, "partition \"" + step.name + "\" cannot be made yet",
                       step.blocked_by);
            leftover = Leftover::something;
        } else if (step.action != Action::create || !step.exclusion.empty()) {
            leftover = Leftover::something; // has steps that are committed alone
        } else if (made == limit) {
            ++postponed;
            leftover = Leftover::something;
        } else {
            (void)create_partition(set, step);
            ++made;
        }
    }
    if (postponed > 0)
        pg::report(NOTICE,
                   std::to_string(made) + " partitions were made, and " +
                       std::to_string(postponed) + " are left for the first run",
                   "So many locks at once do not fit into one transaction.",
                   "Run CALL orchestry.run(" + pg::quote_literal(set.quoted) + ");");
    return leftover;
}

} // namespace

catalog::JobId add_policy(Oid parent, const Settings& settings, const std::string& schedule,
                          base::Instant now) {
    const std::string name = pg::require_relation_name(parent);
    catalog::require_owner_of(parent);
    const CheckedPolicy policy(settings, catalog::require_key_column(parent), Names::unchecked);
    const base::Schedule due = catalog::parse_schedule(schedule);
    std::optional<StoredPolicy> known = find_policy(parent);
    if (is_known(known, policy.settings(), schedule, name))
        return known->job;

    Leftover leftover = Leftover::nothing;
    {
        const catalog::AsOwner owner(parent);
        const std::int64_t budget_us = catalog::settings::lock_budget_us();
        const std::int64_t waited_us = lock_for_runway(parent, policy, now, budget_us);
        known = find_policy(parent); // somebody may have been faster
        if (is_known(known, policy.settings(), schedule, name))
            return known->job;
        catalog::require_no_newer_job("partition", parent);
        const Set set = inspect(parent, policy.kind());
        require_create_privilege(set);
        const StatementScope pinned(budget_us - waited_us);
        leftover = make_runway(set, policy, now);
    }
    const base::Instant first_run =
        leftover == Leftover::something ? now : base::next_run(due, *policy.plan().zone, now, now);
    const catalog::JobId job = catalog::insert_job(
        {"partition", parent, schedule, policy.settings().time_zone}, now, first_run);
    store_settings(job, policy.settings());
    return job;
}

void alter_policy(const catalog::Job& job, const std::string& patch, base::Instant now) {
    const CheckedPolicy policy(patched(load_settings(job.id), patch),
                               catalog::require_key_column(job.target), Names::unchecked);
    check_size(inspect(job.target, policy.kind()), policy.plan(), now);
    store_settings(job.id, policy.settings());
}

Oid create_partition_at(Oid parent, std::int64_t position, base::Instant now) {
    const std::string name = pg::require_relation_name(parent);
    catalog::require_owner_of(parent);
    const KeyColumn key = catalog::require_key_column(parent);
    const CheckedPolicy policy(require_policy(parent).settings, key, Names::checked_before);
    const catalog::AsOwner owner(parent);
    const std::int64_t budget_us = catalog::settings::lock_budget_us();
    const std::int64_t waited_us =
        pg::lock_relations(attach_locks(inspect(parent, policy.kind())), budget_us);
    const Set set = inspect(parent, policy.kind());
    const std::vector<PlannedStep> steps =
        plan_one(set, policy.plan(), now, ServerWorld(set), position);
    if (steps.empty()) {
        const Oid existing = route(set, KeyValue{position, {}});
        pg::report(NOTICE, "partition " + pg::relation_name(existing).value_or("") +
                               " takes this key already");
        return existing;
    }
    const PlannedStep& create = steps.back();
    if (!create.blocked_by.empty())
        throw Error(errc::not_prerequisite_state,
                    "cannot create a partition of table " + name + " for this key")
            .detail("From " + bound_text(set.kind, create.range.lower) + " to " +
                    bound_text(set.kind, create.range.upper) + ": " + create.blocked_by)
            .hint("See SELECT object, blocked_by FROM orchestry.plan(" + pg::quote_literal(name) +
                  ");");
    if (steps.size() > 1) {
        std::string statements;
        for (const Step& step : prepare(set, {steps.begin(), steps.end() - 1}))
            for (const std::string& sql : step.statements)
                statements += sql + "; ";
        throw Error(errc::not_prerequisite_state,
                    "the default partition of table " + name + " is large")
            .detail("To attach another partition, all of it would be read while nobody can use it.")
            .hint("Run this first, which reads it while others use it: " + statements);
    }
    const StatementScope pinned(budget_us - waited_us);
    return create_partition(set, create);
}

// --- promotion of the default partition ---------------------------------------------------------

namespace {

constexpr const char* deadlock_detected = "40P01";

/// One promotion, from a plan of its own to the swap.
class Promotion {
  public:
    Promotion(pg::Session& session, Oid parent, catalog::JobId job)
        : session_(session), parent_(parent), job_(job), name_(pg::require_relation_name(parent)) {}
    void run();

  private:
    void plan();
    void add_check();
    void validate_check();
    void drop_check();
    void swap();
    std::string check_name() const { return inclusion_name(kind_, step_.range); }
    const Exclusion* find_check() const;
    Set place() const;
    void refresh();
    void alter_default(LOCKMODE mode, const std::string& change);
    template <typename F>
    std::optional<pg::Failure> commit_alone(F act);
    template <typename F>
    void must_commit_alone(F act);

    pg::Session& session_;
    const Oid parent_;
    const catalog::JobId job_;
    const std::string name_;
    KeyKind kind_ = KeyKind::timestamptz;
    Set set_;
    PlannedStep step_;
    bool large_ = false;
};

/// Runs `act` as the owner in a transaction of its own, and again after a pause while it does not
/// get its locks. Only a commit raises here; whatever else goes wrong, an interrupted pause
/// included, is returned.
template <typename F>
std::optional<pg::Failure> Promotion::commit_alone(F act) {
    for (int attempt = 1;; ++attempt) {
        session_.ensure_snapshot();
        const auto failure = pg::in_subtransaction([&] {
            const catalog::AsOwner owner(parent_);
            act();
        });
        session_.commit();
        const bool retry =
            failure && (failure->is(errc::lock_not_available) || failure->is(deadlock_detected));
        if (!retry || attempt >= catalog::settings::lock_attempts)
            return failure;
        if (auto interrupted = pg::in_subtransaction([&] {
                pg::wait(base::backoff_us(attempt, lock_pause_base_us, lock_pause_cap_us, parent_),
                         pg::WaitFor::lock_retry);
            }))
            return interrupted;
    }
}

template <typename F>
void Promotion::must_commit_alone(F act) {
    if (const auto failure = commit_alone(act))
        pg::raise(*failure);
}

/// Decides what the default partition can become. Reads its rows, so it is done once and under no
/// strong lock.
void Promotion::plan() {
    const CheckedPolicy policy(require_policy(parent_).settings,
                               catalog::require_key_column(parent_), Names::checked_before);
    kind_ = policy.kind();
    refresh();
    const Set place = this->place();
    const ServerWorld world(place);
    step_ = plan_promotion(place, policy.plan(), catalog::settings::now(), world);
    if (!step_.blocked_by.empty())
        throw Error(errc::not_prerequisite_state, "default partition " + set_.fallback->quoted +
                                                      " cannot become an ordinary partition")
            .detail("The reason: " + step_.blocked_by + ".")
            .hint("See SELECT object, blocked_by FROM orchestry.plan(" + pg::quote_literal(name_) +
                  ");");
    large_ = world.default_pages() > small_default_pages;
}

/// The set as if it were in the schema of the default partition: there it gets its new name, and a
/// new default partition its old one.
Set Promotion::place() const {
    Set place = set_;
    place.schema_id = pg::protect([&] { return get_rel_namespace(set_.fallback->relid); });
    place.schema = pg::quote_identifier(
        pg::protect([&]() -> const char* { return get_namespace_name(place.schema_id); }));
    return place;
}

/// Reads the set again, and insists on a default partition: the same one, after the first time.
void Promotion::refresh() {
    const Oid before = set_.fallback ? set_.fallback->relid : InvalidOid;
    set_ = inspect(parent_, kind_);
    if (!set_.fallback)
        throw Error(errc::not_prerequisite_state, "table " + name_ + " has no default partition")
            .hint("See SELECT * FROM orchestry.timeline(" + pg::quote_literal(name_) + ");");
    if (OidIsValid(before) && before != set_.fallback->relid)
        throw Error(errc::not_prerequisite_state,
                    "table " + name_ + " has another default partition by now")
            .hint("Run CALL orchestry.promote_default(" + pg::quote_literal(name_) + "); again.");
}

const Exclusion* Promotion::find_check() const {
    const std::string name = check_name();
    for (const Exclusion& check : set_.fallback->exclusions)
        if (check.name == name)
            return &check;
    return nullptr;
}

/// Runs one ALTER TABLE of the default partition. Its lock, and whatever other one the statement
/// takes, are waited for within one budget.
void Promotion::alter_default(LOCKMODE mode, const std::string& change) {
    const std::int64_t budget_us = catalog::settings::lock_budget_us();
    const std::int64_t waited_us = pg::lock_relations({{set_.fallback->relid, mode}}, budget_us);
    refresh(); // it may have got another name while we waited
    const StatementScope pinned(budget_us - waited_us);
    pg::run_statements({"ALTER TABLE " + set_.fallback->quoted + " " + change});
}

void Promotion::add_check() {
    if (find_check())
        return; // left by a call that was interrupted
    alter_default(AccessExclusiveLock, "ADD CONSTRAINT " + pg::quote_identifier(check_name()) +
                                           " CHECK (" + set_.key + " IS NOT NULL AND " +
                                           range_condition(set_, step_) + ") NOT VALID");
}

void Promotion::validate_check() {
    alter_default(ShareUpdateExclusiveLock,
                  "VALIDATE CONSTRAINT " + pg::quote_identifier(check_name()));
}

void Promotion::drop_check() {
    alter_default(AccessExclusiveLock, "DROP CONSTRAINT " + pg::quote_identifier(check_name()));
}

/// Detach, attach and a new default partition, in one short transaction. A large one is not read:
/// the constraint proves what its rows are.
void Promotion::swap() {
    const std::int64_t budget_us = catalog::settings::lock_budget_us();
    std::vector<pg::LockRequest> locks = attach_locks(set_);
    for (pg::LockRequest& lock : locks)
        lock.mode = AccessExclusiveLock;
    const std::int64_t waited_us = pg::lock_relations(locks, budget_us);
    refresh();
    const Exclusion* const check = find_check();
    const Set place = this->place();
    const auto holder = ServerWorld(place).holder_of(step_.name);
    if (!set_.fallback->stranger.empty() || (large_ && !(check && check->validated)) || holder ||
        !catalog::is_free(parent_, kind_, step_.range))
        throw Error(errc::not_prerequisite_state, "table " + name_ + " was changed meanwhile")
            .hint("Run CALL orchestry.promote_default(" + pg::quote_literal(name_) + "); again.");

    const StatementScope pinned(budget_us - waited_us);
    const std::string old_name =
        pg::protect([&]() -> const char* { return get_rel_name(set_.fallback->relid); });
    const Template shape(place);
    const std::string promoted = shape.quoted(step_.name);
    pg::run_statements(
        {"ALTER TABLE " + set_.quoted + " DETACH PARTITION " + set_.fallback->quoted,
         "ALTER TABLE " + set_.fallback->quoted + " RENAME TO " + pg::quote_identifier(step_.name),
         attach_sql(set_, step_, promoted)});
    if (check)
        pg::run_statements({drop_constraint_sql(promoted, check->name)});
    pg::run_statements(shape.create(old_name));
    pg::run_statements({"ALTER TABLE " + set_.quoted + " ATTACH PARTITION " +
                        shape.quoted(old_name) + " DEFAULT"});
    if (const auto last = shape.finish(old_name))
        pg::run_statements({*last});
}

void Promotion::run() {
    must_commit_alone([&] {
        plan();
        // The partitions change in the end; and until then the job's next run has to look for a
        // constraint of ours, whatever becomes of us.
        catalog::unsettle(job_);
    });
    if (!large_) {
        must_commit_alone([&] { swap(); });
        return;
    }
    must_commit_alone([&] { add_check(); });
    std::optional<pg::Failure> failure = commit_alone([&] { validate_check(); });
    if (!failure)
        failure = commit_alone([&] { swap(); });
    if (!failure)
        return;
    // Rows of other ranges are being refused for nothing now.
    if (const auto kept = commit_alone([&] { drop_check(); }))
        pg::report(WARNING,
                   "constraint " + pg::quote_identifier(check_name()) +
                       " still keeps rows out of the default partition of table " + name_,
                   kept->message, "Run CALL orchestry.run(" + pg::quote_literal(name_) + ");");
    pg::raise(*failure);
}

} // namespace

void promote_default(pg::Session& session, Oid parent) {
    session.ensure_snapshot();
    const std::string name = pg::require_relation_name(parent);
    catalog::require_owner_of(parent);
    (void)catalog::require_key_column(parent);
    const catalog::JobId job = require_policy(parent).job;
    const std::optional<pg::SessionLock> single_flight = catalog::lock_job(job);
    if (!single_flight)
        throw Error(object_in_use, "the partition job of table " + name + " is running")
            .hint("Wait until it has ended: SELECT * FROM orchestry.progress;");
    Promotion(session, parent, job).run();
}

} // namespace orchestry::partition
