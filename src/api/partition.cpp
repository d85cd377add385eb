// SQL entry points of partition maintenance: decode, call, encode.
#include <algorithm>

#include "api/args.hpp"
#include "catalog/settings.hpp"
#include "matview/manage.hpp"
#include "partition/key_input.hpp"
#include "partition/manage.hpp"
#include "partition/report.hpp"
#include "pg/xact.hpp"
#include "retention/report.hpp"

namespace orchestry::api {

namespace {

using partition::Settings;

Datum add(Oid relation, const Settings& settings, const std::string& schedule) {
    return Int64GetDatum(
        partition::add_policy(relation, settings, schedule, catalog::settings::now()).value);
}

/// The arguments that come after past where the key is a time.
void read_time_arguments(const Args& args, int first, Settings& settings) {
    settings.time_zone = args.text(first, "time_zone");
    settings.name_pattern = args.optional_text(first + 1);
    settings.key_unit = args.optional_text(first + 2);
}

/// Argument 1 of create_partition() and partition_of() as a key of the table; nullopt for NULL.
std::optional<catalog::KeyValue> key_argument(FunctionCallInfo fcinfo, const Args& args,
                                              base::KeyKind kind, const catalog::KeyColumn& key,
                                              const base::Zone& zone) {
    if (args.is_null(1))
        return std::nullopt;
    const Oid type = pg::protect([&] { return get_fn_expr_argtype(fcinfo->flinfo, 1); });
    return partition::read_key(kind, key, zone, type, args.datum(1, "at"));
}

/// What the key of a table without a policy means: whatever its type, or the unit, says.
Settings settings_without_policy(const catalog::KeyColumn& key,
                                 std::optional<std::string> key_unit = std::nullopt) {
    Settings settings;
    if (!key_unit && (key.type == INT2OID || key.type == INT4OID || key.type == INT8OID))
        settings.every_keys = 1;
    else
        settings.every = base::Span{0, 1, 0};
    settings.key_unit = std::move(key_unit);
    return settings;
}

/// How retention reads the key of a table; nullopt when the table has no such policy.
std::optional<Settings> settings_of_retention(Oid relid) {
    const std::optional<retention::KeyReading> reading = retention::key_reading(relid);
    if (!reading)
        return std::nullopt;
    Settings settings =
        settings_without_policy(catalog::require_key_column(relid), reading->key_unit);
    settings.time_zone = reading->time_zone;
    return settings;
}

void add_lines(ResultSet& result, const char* kind,
               const std::vector<catalog::Explanation>& lines) {
    for (const catalog::Explanation& line : lines)
        result.add(line.job.value, kind, line.object, line.state, line.reason,
                   text_or_null(line.next_action), line.next_at);
}

} // namespace

ORCHESTRY_FUNCTION(orchestry_add_partition_policy_interval) {
    const Args args(fcinfo, "add_partition_policy");
    Settings settings;
    settings.every = args.interval(1, "every");
    settings.ahead = args.optional_interval(2);
    settings.past = args.interval(3, "past");
    read_time_arguments(args, 4, settings);
    return add(args.relation(0, "relation"), settings, args.text(7, "schedule"));
}

ORCHESTRY_FUNCTION(orchestry_add_partition_policy_keys) {
    const Args args(fcinfo, "add_partition_policy");
    Settings settings;
    settings.every_keys = args.bigint(1, "every");
    settings.ahead_keys = args.optional_bigint(2);
    settings.past_keys = args.bigint(3, "past");
    settings.name_pattern = args.optional_text(4);
    return add(args.relation(0, "relation"), settings, args.text(5, "schedule"));
}

ORCHESTRY_FUNCTION(orchestry_add_partition_policy_text) {
    const Args args(fcinfo, "add_partition_policy");
    const std::string every = args.text(1, "every");
    const std::optional<std::string> ahead = args.optional_text(2);
    const std::string past = args.text(3, "past");
    Settings settings;
    read_time_arguments(args, 4, settings);
    if (is_number(every)) {
        settings.every_keys = parse_bigint(every, "every");
        settings.past_keys = parse_bigint(past, "past");
        if (ahead)
            settings.ahead_keys = parse_bigint(*ahead, "ahead");
    } else {
        settings.every = parse_interval(every, "every");
        settings.past = parse_interval(past, "past");
        if (ahead)
            settings.ahead = parse_interval(*ahead, "ahead");
    }
    return add(args.relation(0, "relation"), settings, args.text(7, "schedule"));
}

ORCHESTRY_FUNCTION(orchestry_create_partition) {
    const Args args(fcinfo, "create_partition");
    const Oid parent = args.relation(0, "parent");
    (void)args.datum(1, "at");
    catalog::require_owner_of(parent);
    const catalog::KeyColumn key = catalog::require_key_column(parent);
    const partition::CheckedPolicy policy(partition::require_policy(parent).settings, key,
                                          partition::Names::checked_before);
    const auto value = key_argument(fcinfo, args, policy.kind(), key, *policy.plan().zone);
    return ObjectIdGetDatum(
        partition::create_partition_at(parent, value->position, catalog::settings::now()));
}

ORCHESTRY_FUNCTION(orchestry_partition_of) {
    const Args args(fcinfo, "partition_of");
    const Oid parent = args.relation(0, "parent");
    const catalog::KeyColumn key = catalog::require_key_column(parent);
    const std::optional<partition::StoredPolicy> known = partition::find_policy(parent);
    const partition::CheckedPolicy policy(known ? known->settings : settings_without_policy(key),
                                          key, partition::Names::checked_before);
    const auto value = key_argument(fcinfo, args, policy.kind(), key, *policy.plan().zone);
    const Oid partition = partition::route(partition::inspect(parent, policy.kind()), value);
    if (!OidIsValid(partition))
        PG_RETURN_NULL();
    return ObjectIdGetDatum(partition);
}

ORCHESTRY_FUNCTION(orchestry_promote_default) {
    const Args args(fcinfo, "promote_default");
    const Oid parent = args.relation(0, "parent");
    pg::ProcedureSession session(fcinfo, "promote_default");
    partition::promote_default(session, parent);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_list_partitions) {
    ResultSet result(fcinfo);
    for (const partition::PartitionRow& row : partition::list_partitions(catalog::settings::now()))
        result.add(row.parent, row.partition, row.is_default, row.lower_at, row.upper_at,
                   row.lower_key, row.upper_key, row.bound, row.phase, row.job.value,
                   row.gap_to_fill);
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_explain) {
    const Args args(fcinfo, "explain");
    const Oid target = args.relation(0, "target");
    catalog::require_owner_of(target);
    const base::Instant now = catalog::settings::now();
    ResultSet result(fcinfo);
    if (pg::call<get_rel_relkind>(Oid{target}) == RELKIND_MATVIEW) {
        add_lines(result, "matview", matview::explain(matview::require_job(target), now));
        return Datum{0};
    }
    const std::vector<retention::StoredPolicy> retained = retention::find_policies(target);
    if (retained.empty() || partition::find_policy(target))
        add_lines(result, "partition", partition::explain(target, now));
    for (const retention::StoredPolicy& policy : retained)
        add_lines(result, "retention", retention::explain(catalog::get_job(policy.job), now));
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_timeline) {
    const Args args(fcinfo, "timeline");
    const Oid target = args.relation(0, "target");
    ResultSet result(fcinfo);
    const base::Instant now = catalog::settings::now();
    for (const std::string& line : partition::timeline(target, settings_of_retention(target), now))
        result.add(line);
    if (const auto line = retention::describe_horizon(target, now))
        result.add(*line);
    return Datum{0};
}

} // namespace orchestry::api
