#include "health/examine.hpp"

#include "catalog/settings.hpp"
#include "health/output.hpp"
#include "pg/deadline.hpp"
#include "pg/lock.hpp"
#include "pg/spi.hpp"
#include "pg/xact.hpp"

namespace orchestry::health {

namespace {

/// The checks, each a view orchestry._check_CODE, in the order in which somebody who is woken at
/// night wants to know.
constexpr const char* codes[] = {
    "wraparound",       "runway",           "partition_gap",    "default_rows",
    "detach_pending",   "retention_drift",  "job_failed",       "job_late",
    "scheduler",        "restored_job",     "rollup_lag",       "matview_stale",
    "sequence",         "replication_slot", "replication_lag",  "xmin_horizon",
    "lock_wait",        "connections",      "invalid_index",    "missing_fk_index",
    "duplicate_index",  "unused_index",     "vacuum_backlog",   "parent_statistics",
    "stale_statistics", "table_bloat",      "replica_identity", "unvalidated_constraint",
    "held_data",        "visibility"};

/// A check's own failure is a finding.
Finding describe(const char* code, const pg::Failure& failure, bool took_too_long,
                 std::int64_t budget_us) {
    Finding finding{"unknown", code, {}, {}, {}, {}, {}};
    finding.detail = took_too_long
                         ? "The check did not come to its end within " +
                               std::to_string(budget_us / 1000) + " ms."
                         : "The check failed: " + failure.message + " (" + failure.sqlstate + ").";
    return finding;
}

std::vector<Finding> run_check(const char* code) {
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, catalog::settings::lock_budget_us());
    set_plain_output(guc);
    guc.set("jit", "off"); // compiling would take longer than any of these
    pg::Spi spi;
    spi.read("SELECT c.severity, c.object, c.detail, c.fix_sql, c.fix_lock, c.evidence FROM "
             "orchestry._check_" +
             std::string(code) + " c ORDER BY c.object, c.detail");
    std::vector<Finding> findings;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        findings.push_back(
            {row.text(1), code, row.text(2), row.text(3), row.text(4), row.text(5), row.text(6)});
    }
    return findings;
}

} // namespace

std::vector<Finding> examine(std::int64_t budget_us) {
    std::vector<Finding> findings;
    for (const char* code : codes) {
        pg::check_interrupts();
        std::vector<Finding> found;
        const pg::Deadline deadline(budget_us);
        const auto failure = pg::in_subtransaction([&] { found = run_check(code); });
        if (failure && failure->is(base::errc::query_canceled) && !deadline.passed())
            pg::raise(*failure); // whoever called for the end means all of it
        if (failure)
            found = {describe(code, *failure, deadline.passed(), budget_us)};
        findings.insert(findings.end(), found.begin(), found.end());
    }
    return findings;
}

} // namespace orchestry::health
