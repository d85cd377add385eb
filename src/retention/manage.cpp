#include "retention/manage.hpp"

#include "catalog/settings.hpp"
#include "retention/guard.hpp"

#include <algorithm>

namespace orchestry::retention {

using base::Error;
namespace errc = base::errc;

namespace {

constexpr const char* undefined_table = "42P01";

std::string require_name(Oid relid) {
    std::optional<std::string> name = pg::relation_name(relid);
    if (!name)
        throw Error(undefined_table,
                    "the table with OID " + std::to_string(relid) + " does not exist")
            .hint("Give the table by name.");
    return *std::move(name);
}

/// Single rows are another kind of removal, with other means.
void require_whole_partitions(const Settings& settings, Oid relid) {
    if (const auto why = why_rows(settings, relid))
        throw Error(errc::feature_not_supported, "retention of single rows is not available")
            .detail(*why)
            .hint("Give only \"keep\", \"action\", \"grace\" and \"schedule\", for a table that is "
                  "partitioned by the "
                  "range of its time column.");
}

/// Already there with these settings: its job. With others: 42710.
std::optional<catalog::JobId> known_job(Oid relid, const Settings& settings,
                                        const std::string& schedule) {
    std::vector<StoredPolicy> policies = find_policies(relid);
    std::erase_if(policies, [&](const StoredPolicy& policy) {
        return why_rows(policy.settings, relid).has_value();
    });
    if (policies.empty())
        return std::nullopt;
    const catalog::JobId job = policies.front().job;
    const std::string name = require_name(relid);
    if (policies.front().settings == settings && catalog::get_job(job).schedule == schedule) {
        pg::report(NOTICE, "table " + name + " has this retention policy already");
        return job;
    }
    throw Error(errc::duplicate_object,
                "table " + name + " has a retention policy for its partitions already")
        .detail("It is job " + std::to_string(job.value) + ".")
        .hint("Run SELECT orchestry.alter_policy(" + std::to_string(job.value) +
              ", '{\"keep\": ...}'); with what is to "
              "change.");
}

/// Tells what the first run would take.
void announce(const Set& set, const Policy& policy, base::Instant first_run, base::Instant now) {
    const std::vector<PlannedStep> steps = plan(set, policy, now, ServerWorld(set.relid));
    const auto due = std::count_if(steps.begin(), steps.end(), [](const PlannedStep& step) {
        return step.action == Action::detach;
    });
    if (due == 0)
        return;
    pg::report(
        NOTICE,
        std::to_string(due) + (due == 1 ? " partition" : " partitions") + " of table " +
            set.quoted + (due == 1 ? " is" : " are") + " past the time that the policy keeps",
        "The first run is due at " +
            base::bound_text(base::KeyKind::timestamptz, base::Bound::value(first_run.us)) + ".",
        "See SELECT * FROM orchestry.plan(" + pg::quote_literal(set.quoted) + ");");
}

} // namespace

catalog::JobId add_policy(Oid relid, Settings settings, const std::string& schedule,
                          base::Instant now) {
    (void)require_name(relid);
    catalog::require_owner_of(relid);
    settings = completed(std::move(settings), relid);
    require_whole_partitions(settings, relid);
    const CheckedPolicy policy(std::move(settings), catalog::require_key_column(relid));
    const base::Schedule due = catalog::parse_schedule(schedule);
    // Of two setups at once, one waits and then finds the other's policy.
    (void)pg::lock_relations({{relid, ShareUpdateExclusiveLock}},
                             catalog::settings::lock_budget_us());
    if (const auto known = known_job(relid, policy.settings(), schedule))
        return *known;
    const base::Instant first_run = base::next_run(due, *policy.plan().zone, now, now);
    {
        const Set set = inspect(relid, policy.kind(), {});
        check_keep(set, policy.plan(), now);
        announce(set, policy.plan(), first_run, now);
    }
    const catalog::JobId job = catalog::insert_job(
        {"retention", relid, schedule, policy.settings().time_zone}, now, first_run);
    store_settings(job, policy.settings());
    return job;
}

void alter_policy(const catalog::Job& job, const std::string& patch, base::Instant now) {
    const Settings settings = patched(load_policy(job.id).settings, patch);
    require_whole_partitions(settings, job.target);
    const CheckedPolicy policy(settings, catalog::require_key_column(job.target));
    check_keep(inspect(job.target, policy.kind(), job.id), policy.plan(), now);
    store_settings(job.id, policy.settings());
}

// --- back from quarantine -----------------------------------------------------------------------

namespace {

catalog::Quarantined require_quarantined(Oid partition) {
    const std::string name = require_name(partition);
    std::optional<catalog::Quarantined> record = catalog::find_quarantined(partition);
    if (!record)
        throw Error(errc::not_prerequisite_state, "table " + name + " is not in quarantine")
            .hint("See SELECT partition, former_name FROM orchestry.quarantine;");
    if (!OidIsValid(record->parent))
        throw Error(errc::not_prerequisite_state,
                    "the table that " + name + " was a partition of does not exist any more")
            .hint("To keep it as it is, run ALTER TABLE " + name + " RENAME TO ...;");
    catalog::require_owner_of(record->parent);
    if (pg::protect([&] { return get_rel_relispartition(partition); }))
        throw Error(errc::not_prerequisite_state, "table " + name + " is still a partition")
            .detail("A run was interrupted while it detached it.")
            .hint(record->job
                      ? "Run CALL orchestry.run_job(" + std::to_string(record->job->value) +
                            "); first."
                      : "Run ALTER TABLE ... DETACH PARTITION " + name + " FINALIZE; first.");
    return *std::move(record);
}

void require_free_name(const catalog::Quarantined& record) {
    const Oid holder = pg::protect([&] {
        return get_relname_relid(record.former_name.c_str(), get_rel_namespace(record.relid));
    });
    if (OidIsValid(holder))
        throw Error(errc::duplicate_table,
                    "the name of the partition is taken by " + require_name(holder))
            .hint("Rename that first.");
}

std::vector<pg::LockRequest> reattach_locks(const catalog::Quarantined& record) {
    // A partition that brings its foreign keys along makes ATTACH lock what they reference against
    // everybody.
    std::vector<pg::LockRequest> locks =
        foreign_key_locks(record.parent, AccessExclusiveLock, ShareRowExclusiveLock);
    locks.push_back({record.parent, ShareUpdateExclusiveLock});
    const Oid fallback = pg::protect([&] { return get_default_partition_oid(record.parent); });
    if (OidIsValid(fallback))
        locks.push_back({fallback, AccessExclusiveLock});
    locks.push_back({record.relid, AccessExclusiveLock});
    return locks;
}

} // namespace

std::int64_t reattach(Oid partition) {
    const std::string name = require_name(partition);
    const catalog::Quarantined record = require_quarantined(partition);
    const std::int64_t budget_us = catalog::settings::lock_budget_us();
    const std::int64_t waited_us = pg::lock_relations(reattach_locks(record), budget_us);
    if (!catalog::find_quarantined(partition))
        throw Error(errc::not_prerequisite_state,
                    "table " + name + " has left the quarantine meanwhile");
    require_free_name(record);
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, budget_us - waited_us);
    rename(partition, record.former_name);
    {
        const catalog::AsOwner owner(record.parent);
        pg::run_statements({"ALTER TABLE " + require_name(record.parent) + " ATTACH PARTITION " +
                            require_name(partition) + " FOR VALUES " + record.bounds});
    }
    catalog::delete_quarantined(partition);
    catalog::Hold hold;
    hold.relid = partition;
    hold.reason = "reattached";
    return catalog::add_hold(hold);
}

} // namespace orchestry::retention
