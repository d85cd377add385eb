// SQL entry points of materialized views: decode, call, encode.
#include "api/args.hpp"
#include "api/jobs.hpp"
#include "catalog/settings.hpp"
#include "matview/manage.hpp"

namespace orchestry::api {

ORCHESTRY_FUNCTION(orchestry_add_refresh_policy) {
    const Args args(fcinfo, "add_refresh_policy");
    matview::Settings settings;
    settings.max_staleness = args.interval(1, "max_staleness");
    settings.mode = args.text(2, "mode");
    settings.change_detection = args.text(3, "change_detection");
    settings.time_zone = args.text(6, "time_zone");
    settings.max_unverified = args.interval(7, "max_unverified");
    settings.assume_pure = args.boolean(8, "assume_pure");
    return Int64GetDatum(
        matview::add_policy(args.relation(0, "matview"), settings, args.interval(4, "max_runtime"),
                            args.optional_text(5).value_or(""), catalog::settings::now())
            .value);
}

ORCHESTRY_FUNCTION(orchestry_refresh) {
    const Args args(fcinfo, "refresh");
    const Oid matview = args.relation(0, "matview");
    const bool force = args.boolean(1, "force");
    pg::ProcedureSession session(fcinfo, "refresh");
    session.ensure_snapshot();
    const catalog::Job job = matview::require_job(matview);
    if (force)
        matview::force(job.id);
    run_one_job(session, job);
    return Datum{0};
}

} // namespace orchestry::api
