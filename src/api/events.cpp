// SQL entry points of event compression: decode, call, encode.
#include "api/args.hpp"
#include "catalog/settings.hpp"
#include "events/manage.hpp"
#include "partition/manage.hpp"

namespace orchestry::api {

namespace {

/// Of the partitions of a target, which are at least a month wide.
constexpr const char* target_schedule = "1 day";

} // namespace

ORCHESTRY_FUNCTION(orchestry_add_event_compression_policy) {
    const Args args(fcinfo, "add_event_compression_policy");
    events::Settings settings;
    settings.older_than = args.interval(1, "older_than");
    settings.bucket = args.interval(3, "bucket");
    settings.group_by = args.optional_names(5).value_or(std::vector<std::string>());
    settings.count_values_of = args.optional_name(6);
    settings.sample_of = args.optional_name(7);
    settings.samples = args.integer(8, "samples");
    settings.time_zone = args.text(10, "time_zone");
    const std::string zone = settings.time_zone;
    const base::Instant now = catalog::settings::now();
    const events::Added added = events::add_policy(args.relation(0, "source"), std::move(settings),
                                                   {args.optional_text(2), args.optional_name(4)},
                                                   args.text(9, "schedule"), now);
    if (OidIsValid(added.partitioned_target)) {
        partition::Settings partitions;
        partitions.every = added.partition_width;
        partitions.past = added.past;
        partitions.time_zone = zone;
        (void)partition::add_policy(added.partitioned_target, partitions, target_schedule, now);
    }
    return Int64GetDatum(added.job.value);
}

ORCHESTRY_FUNCTION(orchestry_verify_event_compression) {
    const Args args(fcinfo, "verify_event_compression");
    const std::vector<events::Finding> findings = events::verify(args.relation(0, "source"));
    ResultSet result(fcinfo);
    for (const events::Finding& finding : findings)
        result.add(finding.bucket, finding.groups, finding.event_count, finding.problem);
    return Datum{0};
}

} // namespace orchestry::api
