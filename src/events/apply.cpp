#include "events/apply.hpp"

#include "catalog/settings.hpp"
#include "pg/deadline.hpp"
#include "pg/fault.hpp"
#include "pg/kept_rows.hpp"
#include "pg/snapshot.hpp"
#include "pg/xact.hpp"

namespace orchestry::events {

using base::Error;
namespace errc = base::errc;

Oid require_target(Shape& shape) {
    const Oid target = find_target(shape.target_name);
    if (!OidIsValid(target))
        throw Error(errc::undefined_table, "table " + shape.target_name +
                                               ", which takes the "
                                               "compressed events of " +
                                               shape.source_name + ", does not exist")
            .detail("It was renamed, moved or dropped.")
            .hint("Give it its name back, or remove the policy and add one with another "
                  "\"into_table\".");
    const Oid owner = catalog::owner_of(shape.source);
    for (const Oid relid : pg::family_of(target)) {
        if (catalog::stranger(relid, owner).empty())
            continue;
        const std::string name =
            relid == target ? shape.target_name : pg::relation_name(relid).value_or("");
        throw Error(errc::insufficient_privilege,
                    "table " + name + " belongs to another role than " + shape.source_name)
            .detail("Events go only into tables of their owner.")
            .hint("Run ALTER TABLE " + name + " OWNER TO ...;");
    }
    check_target(shape, target);
    return target;
}

namespace {

/// The statements of a step, as the holds are now.
std::vector<std::string> statements_of(const Basis& basis, const PlannedStep& step,
                                       const Kept& kept) {
    const CheckedPolicy policy(basis.settings);
    const std::int32_t samples = basis.settings.samples;
    if (step.action == Action::compress)
        return {compress_sql(basis.shape, policy.plan(), samples, step.lower, step.upper,
                             removable(basis.shape, kept, {step.from, step.upper}))};
    if (step.action == Action::leave)
        return {};
    const PartitionSql sql =
        partition_sql(basis.shape, policy.plan(), samples, step.lower, step.upper, step.object);
    return {sql.summed, sql.merge, sql.empty};
}

/// What the source and the target are locked with.
std::vector<pg::LockRequest> first_locks_of(const Basis& basis, const PlannedStep& step) {
    const bool is_whole = step.action == Action::compress_partition;
    // The first keeps the partition from being detached.
    return {{basis.shape.source, is_whole ? AccessShareLock : RowExclusiveLock},
            {basis.target, RowExclusiveLock}};
}

/// And what is locked when rows are about to go: of a whole partition, that keeps rows from coming;
/// and last the record of holds.
std::vector<pg::LockRequest> last_locks_of(const PlannedStep& step) {
    std::vector<pg::LockRequest> locks;
    if (step.action == Action::compress_partition)
        locks.push_back({step.relid, ShareLock});
    locks.push_back({catalog::hold_table(), catalog::hold_lock_mode});
    return locks;
}

Step prepared(const Basis& basis, PlannedStep planned, const Kept& kept) {
    Step step{std::move(planned), {}, {}};
    step.lock_requests = first_locks_of(basis, step.planned);
    step.statements = statements_of(basis, step.planned, kept);
    for (const pg::LockRequest& lock : last_locks_of(step.planned))
        step.lock_requests.push_back(lock);
    return step;
}

} // namespace

Planned plan_job(const catalog::Job& job, base::Instant now) {
    Planned planned;
    Basis& basis = planned.basis;
    basis.job = job.id;
    basis.settings = load_policy(job.id).settings;
    basis.shape = read_shape(job.target, basis.settings);
    basis.target = require_target(basis.shape);
    const CheckedPolicy policy(basis.settings);
    const Kept kept = kept_by_holds(basis.shape);
    for (PlannedStep& planned_step :
         plan(inspect(basis.shape, policy.plan(), now), policy.plan(), now)) {
        if (planned_step.action == Action::compress && planned_step.blocked_by.empty())
            planned_step.blocked_by = reference_to(
                basis.shape, removable(basis.shape, kept, {planned_step.from, planned_step.upper}));
        planned.steps.push_back(prepared(basis, std::move(planned_step), kept));
    }
    return planned;
}

namespace {

/// Whether the partition of a step can still be taken as a whole, with the same bounds.
bool is_still_whole(const Shape& shape, const PlannedStep& step, const Kept& kept) {
    for (const Whole& whole : whole_partitions(shape, kept, step.upper))
        if (whole.relid == step.relid && whole.quoted == step.object && whole.from == step.from &&
            whole.to == step.upper)
            return true;
    return false;
}

constexpr const char* older_snapshots = "sessions have snapshots that are older";
constexpr const char* others_read_it =
    "others read it for longer than half of deadlock_timeout, while those who write to it wait";
constexpr const char* others_use_it = "others use it for longer than orchestry.lock_timeout";

/// One step while it is applied.
class Application {
  public:
    Application(const Basis& basis, const Step& step, std::int64_t lock_budget_us)
        : basis_(basis), step_(step), budget_us_(lock_budget_us) {}

    Applied apply();

  private:
    bool is_as_planned();
    std::string changed_since() const;
    void compress();
    void compress_rows(const std::string& condition);
    void compress_partition();
    void take_partition(std::optional<pg::Deadline>& deadline);
    [[noreturn]] void give_up(const char* why);
    void count(const pg::Row& row);

    Basis basis_; // with the shape as it is now
    const Step& step_;
    const std::int64_t budget_us_;
    Kept kept_;
    Applied applied_;
    const char* why_not_ = others_use_it;  ///< why the partition is not taken as a whole
    const char* why_late_ = others_use_it; ///< likewise, when its time is over
};

/// Why the step cannot be applied any more; empty: it can. The locks are had.
std::string Application::changed_since() const {
    const Shape& shape = basis_.shape;
    if (pg::relation_name(shape.source) != shape.source_name)
        return "the table is gone or has another name by now";
    if (catalog::owner_of(shape.source) != GetUserId())
        return "the table has another owner by now";
    if (load_policy(basis_.job).settings != basis_.settings)
        return "the policy was changed meanwhile";
    if (find_target(shape.target_name) != basis_.target)
        return "the target is another table by now";
    return stranger_in(shape);
}

void Application::count(const pg::Row& row) {
    applied_.rows = row.bigint(1);
    const std::int64_t merged = row.bigint(2);
    if (const std::int64_t stored = row.bigint(3); stored != merged)
        throw Error(errc::not_prerequisite_state,
                    "of " + std::to_string(merged) + " rows that events were summed up to, table " +
                        basis_.shape.target_name + " took " + std::to_string(stored))
            .detail("No event was removed.")
            .hint("Look for triggers on that table that leave rows out.");
    applied_.message = "into " + std::to_string(merged) + (merged == 1 ? " row of " : " rows of ") +
                       basis_.shape.target_name;
    applied_.done = true;
}

void Application::compress_rows(const std::string& condition) {
    const CheckedPolicy policy(basis_.settings);
    pg::Spi spi;
    spi.run(compress_sql(basis_.shape, policy.plan(), basis_.settings.samples, step_.planned.lower,
                         step_.planned.upper, condition));
    ORCHESTRY_FAULT_POINT("events compressed");
    count(spi.row(0));
}

/// When a group does not fit the target's index, the rows of such groups stay.
void Application::compress() {
    const std::string condition =
        removable(basis_.shape, kept_, {step_.planned.from, step_.planned.upper});
    const auto failure = pg::in_subtransaction([&] { compress_rows(condition); });
    if (!failure)
        return;
    const std::string narrow = narrow_groups(basis_.shape);
    pg::Spi spi;
    if (failure->is(errc::program_limit_exceeded))
        spi.run("SELECT pg_catalog.count(*) FROM " + basis_.shape.source_name + " WHERE " +
                condition + " AND NOT (" + narrow + ")");
    applied_.left = spi.rows() > 0 ? spi.row(0).bigint(1) : 0;
    if (applied_.left == 0)
        pg::raise(*failure);
    compress_rows(condition + " AND " + narrow);
}

/// Gives up taking the partition as a whole at this moment.
void Application::give_up(const char* why) {
    why_not_ = why;
    throw Error(errc::lock_not_available, why);
}

/// What the partition comes to is stored first, beside everybody. Under a lock that keeps rows from
/// coming it is then only looked at for changes since it was summed up, and emptied in the same
/// transaction. It stays where it is: a late row finds its place, and goes with a later run.
void Application::take_partition(std::optional<pg::Deadline>& deadline) {
    const std::vector<std::string> statements = statements_of(basis_, step_.planned, kept_);
    const pg::ActiveSnapshot then;
    pg::Spi spi;
    const pg::KeptRows summed(spi, "summed", statements[0], pg::KeptRows::Seeing::active_snapshot);
    ORCHESTRY_FAULT_POINT("partition summed up");
    const std::uint64_t stored = spi.run(statements[1]);
    ORCHESTRY_FAULT_POINT("partition merged");
    const TimestampTz start = GetCurrentTimestamp();
    deadline.emplace(budget_us_);
    applied_.lock_wait_us += pg::lock_relations(last_locks_of(step_.planned), budget_us_);
    why_late_ = "to see whether it has changed since it was summed up takes longer than "
                "orchestry.lock_timeout, for which those who write to it wait";
    if (!is_as_planned() || !is_still_whole(basis_.shape, step_.planned, kept_))
        give_up("the table, the policy or a hold was changed meanwhile");
    if (!pg::is_unchanged_since(then.get(), step_.planned.relid))
        give_up("rows came or changed while it was summed up");
    // To older snapshots its rows would be gone, and not yet counted.
    why_late_ = older_snapshots;
    if (!pg::outwait_snapshots(budget_us_ - (GetCurrentTimestamp() - start)))
        give_up(older_snapshots);
    why_late_ = others_use_it;
    const std::int64_t held_us = GetCurrentTimestamp() - start, left_us = budget_us_ - held_us;
    const std::int64_t wait_us = pg::budget_beside_waiters(left_us, held_us);
    if (wait_us < left_us)
        why_not_ = others_read_it;
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, wait_us);
    spi.run(statements[2]);
    ORCHESTRY_FAULT_POINT("partition emptied");
    spi.run(count_summed_sql(std::to_string(stored)));
    count(spi.row(0));
}

void Application::compress_partition() {
    if (!is_still_whole(basis_.shape, step_.planned, kept_)) {
        applied_.message = "it cannot be taken as a whole any more";
        return;
    }
    // To wait for these is for nothing if they are there for long.
    if (!pg::outwait_snapshots(budget_us_)) {
        applied_.not_whole = older_snapshots;
        return;
    }
    std::optional<pg::Deadline> deadline;
    const auto failure = pg::in_subtransaction([&] { take_partition(deadline); });
    if (!failure)
        return;
    applied_.done = false;
    applied_.message.clear();
    applied_.rows = 0;
    if (failure->is(errc::query_canceled) && deadline && deadline->passed())
        applied_.not_whole = why_late_;
    else if (failure->is(errc::lock_not_available))
        applied_.not_whole = why_not_;
    else if (failure->is(errc::program_limit_exceeded)) // a group that fits no index row
        applied_.not_whole = failure->message;
    else
        pg::raise(*failure);
}

/// Whether everything is as it was planned, with the holds of now.
bool Application::is_as_planned() {
    applied_.message = changed_since();
    if (!applied_.message.empty())
        return false;
    basis_.shape = read_shape(basis_.shape.source, basis_.settings);
    (void)require_target(basis_.shape);
    kept_ = kept_by_holds(basis_.shape);
    applied_.message = kept_.everything;
    return applied_.message.empty();
}

Applied Application::apply() {
    const bool is_whole = step_.planned.action == Action::compress_partition;
    applied_.lock_wait_us = pg::lock_relations(
        is_whole ? first_locks_of(basis_, step_.planned) : step_.lock_requests, budget_us_);
    if (!is_as_planned())
        return applied_;
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, budget_us_);
    // Of groups the planner expects too many, and would sort all events for them.
    guc.set("enable_sort", "off");
    if (is_whole)
        compress_partition();
    else
        compress();
    return applied_;
}

} // namespace

/// What a batch did, and what it and those before it left.
Applied Compression::told(Applied applied) {
    left_ += applied.left;
    if (applied.done && left_ > 0)
        applied.message += "; " + std::to_string(left_) +
                           (left_ == 1 ? " row stays" : " rows stay") +
                           ", whose values of \"group_by\" are too long for the unique index of " +
                           basis_->shape.target_name;
    if (applied.done && !not_whole_.empty())
        applied.message +=
            (applied.message.empty() ? "" : "; ") + ("row by row, since " + not_whole_);
    return applied;
}

Applied Compression::next_portion(std::int64_t lock_budget_us) {
    if (!portions_) {
        const Shape& shape = basis_->shape;
        const CheckedPolicy policy(basis_->settings);
        const Kept kept = kept_by_holds(shape);
        const base::TimeExtent extent{step_.planned.from, step_.planned.upper};
        if (std::string stranger = stranger_in(shape); !stranger.empty()) {
            Applied skipped;
            skipped.message = std::move(stranger);
            return skipped;
        }
        std::vector<Step> portions;
        for (PlannedStep& planned : plan(inspect_part(shape, policy.plan(), kept, extent),
                                         policy.plan(), catalog::settings::now()))
            if (planned.action == Action::compress)
                portions.push_back(prepared(*basis_, std::move(planned), kept));
        portions_ = std::move(portions);
    }
    Applied applied;
    applied.done = true;
    if (next_ < portions_->size())
        applied = Application(*basis_, (*portions_)[next_], lock_budget_us).apply();
    ++next_;
    applied.more = applied.done && next_ < portions_->size();
    return told(std::move(applied));
}

Applied Compression::next(std::int64_t lock_budget_us) {
    if (!not_whole_.empty())
        return next_portion(lock_budget_us);
    Applied applied = Application(*basis_, step_, lock_budget_us).apply();
    if (applied.not_whole.empty())
        return told(std::move(applied));
    not_whole_ = applied.not_whole;
    applied.done = applied.more = true; // with nothing locked the next batch begins anew
    return applied;
}

} // namespace orchestry::events
