// SQL entry points of schema changes: decode, call, encode.
#include "api/args.hpp"
#include "api/jobs.hpp"
#include "catalog/settings.hpp"
#include "migrate/backfill.hpp"
#include "migrate/ddl.hpp"
#include "migrate/index.hpp"
#include "migrate/ledger.hpp"
#include "migrate/query.hpp"

namespace orchestry::api {

namespace {

/// A span of time as a number of microseconds; a month has 30 days here. Raises 22023 unless it is
/// positive.
std::int64_t positive_us(const Args& args, int i, const char* name) {
    const std::int64_t us = base::nominal_us(args.interval(i, name));
    if (us <= 0)
        throw base::Error(base::errc::invalid_parameter,
                          std::string("\"") + name + "\" must be positive");
    return us;
}

migrate::Patience patience(const Args& args, int lock_timeout, int max_wait) {
    const migrate::Patience how{positive_us(args, lock_timeout, "lock_timeout"),
                                positive_us(args, max_wait, "max_wait")};
    if (how.lock_timeout_us > 24 * base::us_per_day) // what the server's setting takes
        throw base::Error(base::errc::invalid_parameter, "\"lock_timeout\" is above 24 days")
            .hint("Raise max_wait instead: between attempts nobody waits behind this one.");
    return how;
}

} // namespace

ORCHESTRY_FUNCTION(orchestry_apply_migration) {
    const Args args(fcinfo, "apply_migration");
    const bool applied = migrate::apply_migration(args.text(0, "version"), args.text(1, "sql"),
                                                  args.optional_text(2));
    return text_result(applied ? "applied" : "already applied");
}

ORCHESTRY_FUNCTION(orchestry_verify_migration) {
    const Args args(fcinfo, "verify_migration");
    return text_result(migrate::to_string(
        migrate::verify_migration(args.text(0, "version"), args.text(1, "sql"))));
}

ORCHESTRY_FUNCTION(orchestry_ddl) {
    const Args args(fcinfo, "ddl");
    const std::string sql = args.text(0, "sql");
    const migrate::Patience how = patience(args, 1, 2);
    pg::ProcedureSession session(fcinfo, "ddl");
    migrate::run_ddl(session, sql, how);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_set_not_null) {
    const Args args(fcinfo, "set_not_null");
    const Oid relid = args.relation(0, "relation");
    const std::string column = args.name(1, "column_name");
    const migrate::Patience how = patience(args, 2, 3);
    pg::ProcedureSession session(fcinfo, "set_not_null");
    if (!migrate::set_not_null(session, relid, column, how))
        pg::report(NOTICE, "column \"" + column + "\" is NOT NULL already");
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_backfill) {
    const Args args(fcinfo, "backfill");
    const Oid relid = args.relation(0, "relation");
    const std::string assignments = args.text(1, "set_sql");
    const std::optional<std::string> predicate = args.optional_text(2);
    const std::optional<std::int32_t> batch_rows = args.optional_integer(3);
    pg::ProcedureSession session(fcinfo, "backfill");
    session.ensure_snapshot();
    const auto id = migrate::start_backfill(relid, assignments, predicate, batch_rows,
                                            catalog::settings::now());
    if (!id) {
        pg::report(NOTICE, pg::require_relation_name(relid) + " has no partitions, so no rows");
        return Datum{0};
    }
    const catalog::Job job = catalog::get_job(*id);
    session.commit();
    session.ensure_snapshot();
    run_one_job(session, job, [&](const pg::Failure& failure) {
        session.ensure_snapshot();
        const auto lock = catalog::lock_job(job.id);
        if (lock && migrate::drop_unbegun(job, failure))
            session.commit();
    });
    session.ensure_snapshot();
    // Whoever called goes on as if all rows were done.
    if (catalog::find_job(job.id))
        throw base::Error(base::errc::not_prerequisite_state, "the backfill is not done yet")
            .detail("Another run of job " + std::to_string(job.id.value) + " is at it.")
            .hint("See SELECT * FROM orchestry.progress; and call again when it is over.");
    if (migrate::was_given_up(job.id))
        throw base::Error(base::errc::not_prerequisite_state, "the backfill is not done")
            .detail("Another run of job " + std::to_string(job.id.value) +
                    " has failed before it changed a row.")
            .hint("Call again to see why.");
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_build_index) {
    const Args args(fcinfo, "build_index");
    const auto job = migrate::start_index_build(args.text(0, "sql"), catalog::settings::now());
    if (!job) {
        pg::report(NOTICE, "the index is there already");
        PG_RETURN_NULL();
    }
    return Int64GetDatum(start_one_job(catalog::get_job(*job), "build_index").value);
}

ORCHESTRY_FUNCTION(orchestry_explain_query) {
    const Args args(fcinfo, "explain_query");
    return migrate::explain_query(args.text(0, "sql"));
}

ORCHESTRY_FUNCTION(orchestry_slow_queries) {
    const Args args(fcinfo, "slow_queries");
    const double min_mean_ms = args.float8(0, "min_mean_ms");
    const std::int32_t n = args.integer(1, "n");
    ResultSet rows(fcinfo);
    migrate::slow_queries(min_mean_ms, n, [&](const pg::Row& row) {
        rows.add(row.param(1), row.param(2), row.param(3), row.param(4), row.param(5), row.param(6),
                 row.param(7));
    });
    return Datum{0};
}

} // namespace orchestry::api
