#include "events/manage.hpp"

#include "base/arith.hpp"
#include "base/partition_key.hpp"
#include "capture/capture.hpp"
#include "catalog/settings.hpp"

#include <algorithm>

namespace orchestry::events {

using base::Error;
namespace errc = base::errc;

namespace {

/// Buckets that are longer than this have partitions of their own in a target that is made.
constexpr std::int32_t longest_month_days = 31;
/// What is older goes into the target's DEFAULT partition.
constexpr std::int64_t longest_reach_days = 10 * 366;

std::string require_table(Oid relid) {
    const std::optional<std::string> name = pg::relation_name(relid);
    if (!name)
        throw Error(errc::undefined_table,
                    "the table with OID " + std::to_string(relid) + " does not exist")
            .hint("Give the table by name.");
    const char kind = pg::call<get_rel_relkind>(relid);
    const bool is_table = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
    if (!is_table || pg::call<get_rel_persistence>(relid) == RELPERSISTENCE_TEMP)
        throw Error(errc::wrong_object_type, "only events of a permanent table can be compressed")
            .detail(*name + " is none.");
    catalog::require_owner_of(relid);
    return *name;
}

/// Already there with these settings: its job. With others: 42710.
std::optional<catalog::JobId> known_job(Oid source, const Settings& settings,
                                        const std::string& schedule) {
    const std::optional<StoredPolicy> policy = find_policy(source);
    if (!policy)
        return std::nullopt;
    const std::string name = pg::relation_name(source).value_or("");
    if (policy->settings == settings && catalog::get_job(policy->job).schedule == schedule) {
        pg::report(NOTICE, "table " + name + " has this event compression policy already");
        return policy->job;
    }
    const std::string job = std::to_string(policy->job.value);
    throw Error(errc::duplicate_object,
                "table " + name + " has an event compression policy already")
        .detail("It is job " + job + ".")
        .hint("Run SELECT orchestry.alter_policy(" + job +
              ", '{\"older_than\": ...}'); with what is to change.");
}

/// Each row has one place to go to, and retention asks the table that it works on: neither a
/// partition alone nor what it is a part of besides can have a policy.
void require_one_level(Oid source) {
    if (pg::protect([&] { return get_rel_relispartition(source); })) {
        const Oid parent = pg::protect([&] { return get_partition_parent(source, true); });
        throw Error(errc::wrong_object_type, "events of a single partition cannot be compressed")
            .detail("Table " + pg::relation_name(source).value_or("") + " is a partition.")
            .hint("Give the policy to table " + pg::relation_name(parent).value_or("") + ".");
    }
    for (const Oid table : pg::family_of(source)) {
        const auto policy = table != source ? find_policy(table) : std::nullopt;
        if (policy)
            throw Error(errc::duplicate_object,
                        "table " + pg::relation_name(table).value_or("") +
                            ", which is a part of it, has an event compression policy already")
                .hint("Run SELECT orchestry.remove_policy(" + std::to_string(policy->job.value) +
                      "); first.");
    }
}

/// How far back the partitions of the source reach, in days.
base::Span reach(const Shape& shape, base::Instant now) {
    base::Instant oldest = now;
    for (const base::TimeExtent& bounds : partition_bounds(shape))
        oldest = std::min(oldest, bounds.from);
    const std::int64_t days = base::saturating_subtract(now.us, oldest.us) / base::us_per_day + 1;
    return {0, static_cast<std::int32_t>(std::min(days, longest_reach_days)), 0};
}

/// The rows of the target that cannot be right.
std::vector<Finding> findings_in(const Shape& shape, const Policy& policy) {
    pg::Spi spi;
    spi.run("SELECT LEAST(pg_catalog.min(t.bucket), pg_catalog.min(t.first_at)), "
            "GREATEST(pg_catalog.max(t.bucket), pg_catalog.max(t.last_at)) FROM " +
            shape.target_name + " t");
    std::vector<Finding> findings;
    if (spi.row(0).is_null(1))
        return findings;
    const base::Grid grid = policy.grid();
    spi.run(verify_sql(shape, policy, grid.floor(spi.row(0).instant(1)),
                       grid.next(spi.row(0).instant(2))));
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        findings.push_back({row.instant(1), row.text(2), row.bigint(3), row.text(4)});
    }
    return findings;
}

/// Rows that are there already must be of the same buckets. Of many, some are looked at: they were
/// all made by one policy.
void require_same_buckets(const Shape& shape, const CheckedPolicy& policy) {
    Shape sample = shape;
    sample.target_name =
        "(SELECT * FROM " + shape.target_name + " ORDER BY bucket, first_at, last_at LIMIT 10000)";
    for (const Finding& finding : findings_in(sample, policy.plan()))
        if (finding.problem == outside_of_bucket)
            throw Error(errc::wrong_object_type,
                        "table " + shape.target_name + " has rows of other buckets")
                .detail("Events of its bucket " + base::instant_text(finding.bucket) +
                        " are in other buckets of " + base::to_string(policy.plan().bucket) +
                        " in time zone " + policy.settings().time_zone + ".")
                .hint("Give another \"into_table\", or the \"bucket\" and \"time_zone\" of the "
                      "policy that made the rows.");
}

/// The target as the policy wants it; it is made when it is not there.
void provide_target(Shape& shape, const CheckedPolicy& policy, base::Instant now, Added& added) {
    const base::Span& bucket = policy.settings().bucket;
    const bool is_made = !OidIsValid(find_target(shape.target_name));
    if (is_made)
        pg::run_statements(create_target_sql(shape));
    const Oid target = require_target(shape);
    if (!is_made)
        require_same_buckets(shape, policy);
    if (!is_made || pg::call<get_rel_relkind>(target) != RELKIND_PARTITIONED_TABLE)
        return;
    added.partitioned_target = target;
    const bool is_long = bucket.months > 0 || bucket.days > longest_month_days;
    added.partition_width = is_long ? bucket : base::Span{1, 0, 0};
    added.past = reach(shape, now);
}

/// Tells what the first run would take.
void announce(const Shape& shape, const Policy& policy, base::Instant first_run,
              base::Instant now) {
    const std::vector<PlannedStep> steps = plan(inspect(shape, policy, now), policy, now);
    const bool is_due = std::any_of(steps.begin(), steps.end(), [](const PlannedStep& step) {
        return step.action != Action::leave;
    });
    if (!is_due)
        return;
    pg::report(NOTICE, "table " + shape.source_name + " has events that are past their time",
               "The first run is due at " + base::instant_text(first_run) +
                   ". What it compresses cannot be brought back.",
               "See SELECT * FROM orchestry.plan(" + pg::quote_literal(shape.source_name) + ");");
}

} // namespace

Added add_policy(Oid source, Settings settings, const Wishes& wishes, const std::string& schedule,
                 base::Instant now) {
    (void)require_table(source);
    settings.into_table = target_name(source, wishes.into_table);
    settings.time_column = wishes.time_column ? *wishes.time_column : default_time_column(source);
    const CheckedPolicy policy(std::move(settings));
    const base::Schedule due = catalog::parse_schedule(schedule);
    // Of two setups at once, one waits and then finds the other's policy.
    (void)pg::lock_relations({{source, ShareUpdateExclusiveLock}},
                             catalog::settings::lock_budget_us());
    if (const auto known = known_job(source, policy.settings(), schedule))
        return {*known};
    require_one_level(source);
    capture::require_no_buckets(source, "event compression");
    (void)horizon(policy.plan(), now);
    const base::Instant first_run = base::next_run(due, *policy.plan().zone, now, now);
    Added added;
    {
        const catalog::AsOwner owner(source);
        Shape shape = read_shape(source, policy.settings());
        provide_target(shape, policy, now, added);
        announce(shape, policy.plan(), first_run, now);
    }
    added.job = catalog::insert_job({"events", source, schedule, policy.settings().time_zone}, now,
                                    first_run);
    store_settings(added.job, policy.settings());
    return added;
}

void alter_policy(const catalog::Job& job, const std::string& patch) {
    const CheckedPolicy policy(patched(load_policy(job.id).settings, patch));
    store_settings(job.id, policy.settings());
}

std::vector<Finding> verify(Oid source) {
    const std::string name = require_table(source);
    const std::optional<StoredPolicy> stored = find_policy(source);
    if (!stored)
        throw Error(errc::undefined_object, "table " + name + " has no event compression policy")
            .hint("See SELECT target, kind FROM orchestry.jobs;");
    const CheckedPolicy policy(stored->settings);
    const catalog::AsOwner owner(source);
    Shape shape = read_shape(source, policy.settings());
    (void)require_target(shape);
    return findings_in(shape, policy.plan());
}

} // namespace orchestry::events
