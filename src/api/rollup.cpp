// SQL entry points of rollups: decode, call, encode.
#include "api/args.hpp"
#include "api/jobs.hpp"
#include "catalog/settings.hpp"
#include "metrics/rollup_manage.hpp"

namespace orchestry::api {

ORCHESTRY_FUNCTION(orchestry_create_rollup) {
    const Args args(fcinfo, "create_rollup");
    metrics::RollupSettings settings;
    settings.time_column = args.name(2, "time_column");
    settings.value_column = args.name(3, "value_column");
    settings.bucket = args.interval(4, "bucket");
    settings.group_by = args.optional_names(5).value_or(std::vector<std::string>());
    settings.predicate = args.optional_text(6);
    settings.time_zone = args.text(7, "time_zone");
    settings.keep = args.optional_interval(8);
    return Int64GetDatum(metrics::create_rollup(args.text(0, "name"), args.relation(1, "source"),
                                                args.optional_text(9), std::move(settings),
                                                args.text(10, "schedule"), catalog::settings::now())
                             .value);
}

ORCHESTRY_FUNCTION(orchestry_drop_rollup) {
    const Args args(fcinfo, "drop_rollup");
    metrics::drop_rollup(metrics::require_rollup(args.text(0, "name")),
                         args.boolean(1, "keep_data"));
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_refresh_rollup) {
    const Args args(fcinfo, "refresh_rollup");
    const std::string name = args.text(0, "name");
    const std::optional<base::Instant> from = args.optional_instant(1);
    const std::optional<base::Instant> to = args.optional_instant(2);
    const bool force = args.boolean(3, "force");
    pg::ProcedureSession session(fcinfo, "refresh_rollup");
    session.ensure_snapshot();
    const metrics::StoredRollup rollup = metrics::require_rollup(name);
    const catalog::Job job = catalog::get_job(rollup.job);
    catalog::require_owner(job);
    if (from || to || force)
        metrics::mark_times(rollup, from, to, force);
    run_one_job(session, job);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_verify_rollup) {
    const Args args(fcinfo, "verify_rollup");
    const metrics::StoredRollup rollup = metrics::require_rollup(args.text(0, "name"));
    ResultSet result(fcinfo);
    metrics::verify_rollup(
        rollup, args.optional_instant(1), args.optional_instant(2),
        [&](const pg::Row& row) { result.add(row.param(1), row.param(2), row.text(3)); });
    return Datum{0};
}

} // namespace orchestry::api
