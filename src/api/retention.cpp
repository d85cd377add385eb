// SQL entry points of retention and of holds: decode, call, encode.
#include "api/args.hpp"
#include "catalog/settings.hpp"
#include "retention/manage.hpp"

namespace orchestry::api {

namespace {

using retention::Settings;

Datum add(const Args& args, Settings settings, const std::string& schedule) {
    return Int64GetDatum(retention::add_policy(args.relation(0, "relation"), std::move(settings),
                                               schedule, catalog::settings::now())
                             .value);
}

/// All arguments of the forms that take times, but for relation, keep and schedule.
Settings read_time_arguments(const Args& args) {
    Settings settings;
    settings.time_column = args.optional_name(2);
    settings.predicate = args.optional_text(3);
    settings.action = args.text(4, "action");
    settings.grace = args.interval(5, "grace");
    settings.archive_to = args.optional_text(6);
    settings.keep_last = args.optional_integer(7);
    settings.keep_last_by = args.optional_names(8).value_or(std::vector<std::string>());
    settings.batch_rows = args.integer(9, "batch_rows");
    settings.time_zone = args.optional_text(11).value_or("");
    settings.key_unit = args.optional_text(12);
    return settings;
}

} // namespace

ORCHESTRY_FUNCTION(orchestry_add_retention_policy_interval) {
    const Args args(fcinfo, "add_retention_policy");
    Settings settings = read_time_arguments(args);
    settings.keep = args.interval(1, "keep");
    return add(args, std::move(settings), args.text(10, "schedule"));
}

ORCHESTRY_FUNCTION(orchestry_add_retention_policy_keys) {
    const Args args(fcinfo, "add_retention_policy");
    Settings settings;
    settings.keep_keys = args.bigint(1, "keep");
    settings.action = args.text(2, "action");
    settings.grace = args.interval(3, "grace");
    return add(args, std::move(settings), args.text(4, "schedule"));
}

ORCHESTRY_FUNCTION(orchestry_add_retention_policy_text) {
    const Args args(fcinfo, "add_retention_policy");
    Settings settings = read_time_arguments(args);
    const std::string keep = args.text(1, "keep");
    if (is_number(keep))
        settings.keep_keys = parse_bigint(keep, "keep");
    else
        settings.keep = parse_interval(keep, "keep");
    return add(args, std::move(settings), args.text(10, "schedule"));
}

ORCHESTRY_FUNCTION(orchestry_reattach) {
    const Args args(fcinfo, "reattach");
    return Int64GetDatum(retention::reattach(args.relation(0, "partition")));
}

ORCHESTRY_FUNCTION(orchestry_hold) {
    const Args args(fcinfo, "hold");
    catalog::Hold hold;
    hold.relid = args.relation(0, "relation");
    hold.reason = args.text(1, "reason");
    hold.extent.from = args.optional_instant(2).value_or(base::minus_infinity);
    hold.extent.to = args.optional_instant(3).value_or(base::plus_infinity);
    hold.predicate = args.optional_text(4).value_or("");
    return Int64GetDatum(catalog::add_hold(std::move(hold)));
}

ORCHESTRY_FUNCTION(orchestry_release_hold) {
    const Args args(fcinfo, "release_hold");
    catalog::release_hold(args.bigint(0, "hold_id"), args.text(1, "reason"));
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_must_stay) {
    const Args args(fcinfo, "_must_stay");
    return BoolGetDatum(catalog::must_stay(
        args.relation(0, "relation"), {args.optional_instant(1).value_or(base::minus_infinity),
                                       args.optional_instant(2).value_or(base::plus_infinity)}));
}

} // namespace orchestry::api
