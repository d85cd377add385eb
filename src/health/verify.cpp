#include "health/verify.hpp"

#include "catalog/partitioned_table.hpp"
#include "catalog/settings.hpp"
#include "catalog/strangers.hpp"
#include "health/output.hpp"
#include "pg/lock.hpp"
#include "pg/xact.hpp"

namespace orchestry::health {

namespace {

/// Notes which lock is waited for, so that it can be named when it is not had.
pg::LockWatch watch_locks() { return pg::LockWatch(catalog::settings::lock_budget_us() / 8); }

/// Why something could not be looked at.
std::string describe(const pg::Failure& failure, const pg::LockWatch& watch) {
    const std::optional<pg::LockRequest> lock = watch.seen();
    if (!failure.is(base::errc::lock_not_available) || !lock)
        return failure.message;
    return pg::describe_locks({*lock}) + " is not to be had within orchestry.lock_timeout";
}

Verdict verify_indexes(Oid parent) {
    pg::Spi spi;
    spi.read("SELECT pg_catalog.count(*), pg_catalog.string_agg(i.indexrelid::pg_catalog.regclass"
             "::pg_catalog.text, ', ' ORDER BY i.indexrelid) FILTER (WHERE NOT i.indisvalid) "
             "FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) $1",
             parent);
    const pg::Row row = spi.row(0);
    if (row.bigint(1) == 0)
        return {{}, "indexed", {}, "it has no index, nor have its partitions one of its"};
    if (!row.is_null(2))
        return {{}, "indexed", false, "some partition has no valid one of " + row.text(2)};
    return {{},
            "indexed",
            true,
            row.bigint(1) == 1 ? "every partition has its index"
                               : "every partition has all " + row.text(1) + " indexes"};
}

/// The partition that a row of `now` goes to; InvalidOid: there is none, or it is not known what
/// now is in terms of the key.
Oid find_open_partition(Oid parent, base::Instant now) {
    {
        pg::Spi spi;
        if (spi.read("SELECT p.partition FROM orchestry._partitions() p WHERE p.parent "
                     "OPERATOR(pg_catalog.=) $1 AND p.phase OPERATOR(pg_catalog.=) 'open'",
                     parent) > 0)
            return spi.row(0).oid(1);
    }
    Oid partition = InvalidOid;
    (void)pg::in_subtransaction([&] { // a key that is no time is an error
        pg::Spi spi;
        spi.read("SELECT orchestry.partition_of($1, $2)",
                 pg::Param{REGCLASSOID, ObjectIdGetDatum(parent)}, now);
        if (!spi.row(0).is_null(1))
            partition = spi.row(0).oid(1);
    });
    return partition;
}

bool is_default(Oid parent, Oid partition) {
    return pg::protect([&] { return get_default_partition_oid(parent); }) == partition;
}

Verdict verify_insertion(Oid parent, Oid open) {
    if (!OidIsValid(open))
        return {{}, "insertable", false, "no partition takes rows of now"};
    const std::string name = pg::require_relation_name(open);
    if (is_default(parent, open))
        return {{}, "insertable", false, "rows of now go to the default partition, " + name};
    return {{}, "insertable", true, "rows of now go to " + name};
}

/// Whether a query for the rows of one partition reads that one only. As the owner: planning may
/// run functions of the owner's.
Verdict plan_for_one(Oid parent, Oid open) {
    const std::vector<Oid> wanted = pg::family_of(open);
    const catalog::AsOwner owner(parent);
    pg::Spi spi;
    spi.read("SELECT pg_catalog.pg_get_partition_constraintdef($1)", open);
    const std::string condition = spi.row(0).text(1);
    spi.run("EXPLAIN (VERBOSE, FORMAT JSON) SELECT FROM " + pg::require_relation_name(parent) +
            " WHERE " + condition);
    const std::string plan = spi.row(0).text(1);
    spi.read("SELECT pg_catalog.count(DISTINCT c.oid), pg_catalog.count(DISTINCT c.oid) "
             "FILTER (WHERE c.oid OPERATOR(pg_catalog.<>) ALL ($2)) "
             "FROM pg_catalog.jsonb_path_query($1::pg_catalog.jsonb, "
             "'strict $.** ? (exists (@.\"Relation Name\"))', silent => true) n "
             "JOIN pg_catalog.pg_namespace s ON s.nspname OPERATOR(pg_catalog.=) "
             "(n OPERATOR(pg_catalog.->>) 'Schema')::pg_catalog.name "
             "JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) s.oid "
             "AND c.relname OPERATOR(pg_catalog.=) "
             "(n OPERATOR(pg_catalog.->>) 'Relation Name')::pg_catalog.name",
             plan, wanted);
    const std::int64_t read = spi.row(0).bigint(1);
    const std::int64_t too_many = spi.row(0).bigint(2);
    if (too_many > 0)
        return {{},
                "prunes",
                false,
                "a query for one partition reads " + std::to_string(too_many) +
                    " others; is enable_partition_pruning off?"};
    return {{}, "prunes", read > 0, "a query for one partition reads no other"};
}

Verdict verify_pruning(Oid parent, Oid open) {
    if (!OidIsValid(open) || is_default(parent, open))
        return {{}, "prunes", {}, "there is no partition of now to ask for"};
    if (const std::string why = catalog::strangers_part(parent); !why.empty())
        return {{}, "prunes", {}, "a query for one partition is not planned: " + why};
    Verdict verdict;
    const pg::LockWatch watch = watch_locks();
    const auto failure = pg::in_subtransaction([&] { verdict = plan_for_one(parent, open); });
    if (failure && failure->is(base::errc::query_canceled))
        pg::raise(*failure); // whoever cancels means all of it
    if (failure)             // the planner asks whoever has a foreign partition
        return {{},
                "prunes",
                {},
                "a query for one partition cannot be planned: " + describe(*failure, watch)};
    return verdict;
}

void verify_set(Oid parent, base::Instant now, std::vector<Verdict>& verdicts) {
    const std::size_t partitions = pg::family_of(parent).size() - 1;
    verdicts.push_back({{},
                        "partitioned",
                        partitions > 0,
                        "by range of " + catalog::require_key_column(parent).name + ", " +
                            std::to_string(partitions) +
                            (partitions == 1 ? " partition" : " partitions")});
    verdicts.push_back(verify_indexes(parent));
    const Oid open = find_open_partition(parent, now);
    verdicts.push_back(verify_insertion(parent, open));
    verdicts.push_back(verify_pruning(parent, open));
}

Verdict verify_schedule(const catalog::Job& job) {
    const std::string kind = job.kind + " job";
    if (job.paused)
        return {job.id, kind, false,
                "paused" + (job.pause_reason.empty() ? "" : ": " + job.pause_reason)};
    if (job.failures > 0)
        return {job.id, kind, false,
                std::to_string(job.failures) + " failed runs in a row; see orchestry.runs"};
    return {job.id, kind, true,
            job.last_state.empty() ? "has not run yet" : "its last run was " + job.last_state};
}

/// What `query`, of the one parameter `value`, finds wrong: a number, and the first of it.
template <typename T>
Verdict verify_findings(const catalog::Job& job, const char* what, const std::string& query,
                        const T& value) {
    pg::Spi spi;
    spi.read("SELECT pg_catalog.count(*), pg_catalog.min(q.problem) FROM (" + query +
                 ") q (problem)",
             value);
    const pg::Row row = spi.row(0);
    if (row.bigint(1) == 0)
        return {job.id, what, true, "nothing is wrong"};
    return {job.id, what, false,
            row.text(2) + (row.bigint(1) == 1
                               ? ""
                               : " (and " + std::to_string(row.bigint(1) - 1) + " more)")};
}

/// What the check of health() knows of a retention policy.
struct RetentionKind {
    bool is_checked = false; ///< whole partitions, by their time, which do not go into a table
    bool is_of_keys = false; ///< of which nobody knows since when they are past
};

RetentionKind kind_of_retention(const catalog::Job& job) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.read("SELECT r.keep IS NOT NULL AND r.time_column IS NULL AND r.predicate IS NULL AND "
             "r.keep_last IS NULL AND (r.archive_to IS NULL OR r.archive_to "
             "OPERATOR(pg_catalog.~~) 'file:%'), r.keep IS NULL FROM orchestry.retention_policy r "
             "WHERE r.job_id OPERATOR(pg_catalog.=) $1",
             job.id.value);
    if (spi.rows() == 0)
        return {};
    return {spi.row(0).boolean(1), spi.row(0).boolean(2)};
}

/// What a run would have removed two days ago, and has not: a day for the schedule, and another one
/// for a failure, as the check of health() has it.
Verdict verify_removals(const catalog::Job& job, const RetentionKind& kind, base::Instant now) {
    const base::Instant then = base::plus(now, -2 * base::us_per_day);
    pg::Spi spi;
    spi.read("SELECT p.object OPERATOR(pg_catalog.||) ': ' OPERATOR(pg_catalog.||) "
             "COALESCE(p.blocked_by, p.reason), p.blocked_by IS NOT NULL, p.action "
             "OPERATOR(pg_catalog.~~) '%\\_rows', pg_catalog.count(*) OVER () FROM "
             "orchestry.plan($1, $2) p WHERE p.job_id OPERATOR(pg_catalog.=) $3 AND p.destructive "
             "ORDER BY p.blocked_by IS NULL, p.seq LIMIT 1",
             pg::Param{REGCLASSOID, ObjectIdGetDatum(job.target)}, then, job.id.value);
    if (spi.rows() == 0)
        return {job.id, "retention", true, "nothing is wrong"};
    const pg::Row row = spi.row(0);
    Verdict verdict{job.id, "retention", false,
                    row.text(1) + (row.bigint(4) == 1
                                       ? ""
                                       : " (and " + std::to_string(row.bigint(4) - 1) + " more)")};
    // In a large table only the batches themselves find out; and keys may have come a moment ago.
    if (!row.boolean(2) && (row.boolean(3) || (kind.is_of_keys && job.trusted_at > then)))
        verdict.ok = {};
    return verdict;
}

/// verify_removals(); that nothing can be planned is an answer, too.
Verdict verify_retention(const catalog::Job& job, const RetentionKind& kind, base::Instant now) {
    Verdict verdict;
    const auto failure = pg::in_subtransaction([&] { verdict = verify_removals(job, kind, now); });
    if (failure &&
        (failure->is(base::errc::lock_not_available) || failure->is(base::errc::query_canceled)))
        pg::raise(*failure);
    if (failure)
        return {job.id, "retention", false, failure->message};
    return verdict;
}

Verdict verify_stored_buckets(const catalog::Job& job) {
    std::string name;
    {
        pg::Spi spi;
        if (spi.read("SELECT r.rollup::pg_catalog.text FROM orchestry.rollups r WHERE r.job_id "
                     "OPERATOR(pg_catalog.=) $1",
                     job.id.value) > 0)
            name = spi.row(0).text(1);
    }
    if (name.empty())
        return {job.id, "rollup", false, "its view has another name by now"};
    return verify_findings(job, "rollup", "SELECT v.problem FROM orchestry.verify_rollup($1) v",
                           name);
}

Verdict verify_promise(const catalog::Job& job, base::Instant now) {
    const pg::Param target{REGCLASSOID, ObjectIdGetDatum(job.target)};
    if (job.kind == "partition")
        return verify_findings(job, "runway",
                               "SELECT c.detail FROM orchestry._check_runway c WHERE c.object "
                               "OPERATOR(pg_catalog.=) $1 UNION ALL SELECT c.detail FROM "
                               "orchestry._check_partition_gap c WHERE c.object "
                               "OPERATOR(pg_catalog.=) $1",
                               job.target_name);
    if (job.kind == "retention") {
        if (const RetentionKind kind = kind_of_retention(job); !kind.is_checked)
            return verify_retention(job, kind, now);
        return verify_findings(job, "retention",
                               "SELECT c.object OPERATOR(pg_catalog.||) ': ' "
                               "OPERATOR(pg_catalog.||) c.detail FROM "
                               "orchestry._check_retention_drift c WHERE c.fix_sql "
                               "OPERATOR(pg_catalog.=) pg_catalog.format('CALL "
                               "orchestry.run_job(%s);', $1)",
                               job.id.value);
    }
    if (job.kind == "events")
        return verify_findings(job, "compressed events",
                               "SELECT v.problem FROM orchestry.verify_event_compression($1) v",
                               target);
    if (job.kind == "rollup")
        return verify_stored_buckets(job);
    if (job.kind == "matview" && job.paused)
        return {job.id, "fresh", {}, "its job is paused"};
    if (job.kind == "matview")
        return verify_findings(job, "fresh",
                               "SELECT c.detail FROM orchestry._check_matview_stale c WHERE "
                               "c.object OPERATOR(pg_catalog.=) $1",
                               job.target_name);
    return {job.id, job.kind, {}, "nothing more is known of it"};
}

/// verify_promise(), or why what is to be looked at cannot be: most likely somebody has locked it.
Verdict verify_unlocked_promise(const catalog::Job& job, base::Instant now) {
    Verdict verdict;
    const pg::LockWatch watch = watch_locks();
    const auto failure = pg::in_subtransaction([&] { verdict = verify_promise(job, now); });
    if (failure && !failure->is(base::errc::lock_not_available) &&
        !failure->is(base::errc::insufficient_privilege)) // a part is somebody else's
        pg::raise(*failure);
    if (failure)
        return {job.id, job.kind, {}, "cannot be looked at: " + describe(*failure, watch)};
    return verdict;
}

} // namespace

std::vector<Verdict> verify(Oid target, base::Instant now) {
    catalog::require_owner_of(target);
    const std::vector<catalog::Job> jobs = catalog::jobs_of(target);
    if (jobs.empty())
        throw base::Error(base::errc::not_prerequisite_state,
                          "table " + pg::require_relation_name(target) + " has no policy")
            .hint("See SELECT target, kind FROM orchestry.jobs;");
    pg::GucLevel guc;
    set_plain_output(guc);
    pg::set_lock_timeout(guc, catalog::settings::lock_budget_us());
    std::vector<Verdict> verdicts;
    if (pg::call<get_rel_relkind>(target) == RELKIND_PARTITIONED_TABLE)
        verify_set(target, now, verdicts);
    for (const catalog::Job& job : jobs) {
        verdicts.push_back(verify_schedule(job));
        verdicts.push_back(verify_unlocked_promise(job, now));
    }
    return verdicts;
}

} // namespace orchestry::health
