// SQL entry points of health and diagnostics: decode, call, encode.
#include "api/args.hpp"
#include "base/tuple_bytes.hpp"
#include "catalog/job.hpp"
#include "catalog/settings.hpp"
#include "health/examine.hpp"
#include "health/verify.hpp"

namespace orchestry::api {

ORCHESTRY_FUNCTION(orchestry_health) {
    const Args args(fcinfo, "health");
    const base::Span max_time = args.interval(0, "max_time");
    if (max_time.months != 0 || max_time.days != 0 || max_time.us < 1000)
        throw base::Error(base::errc::invalid_parameter,
                          "max_time must be at least a millisecond and less than a day")
            .hint("Run SELECT * FROM orchestry.health('2 s');");
    ResultSet rows(fcinfo);
    for (const health::Finding& finding : health::examine(max_time.us)) {
        pg::Param evidence = pg::null_param(JSONBOID);
        if (!finding.evidence.empty())
            evidence = {JSONBOID, pg::protect([&] {
                            return DirectFunctionCall1(jsonb_in,
                                                       CStringGetDatum(finding.evidence.c_str()));
                        })};
        rows.add(finding.severity, finding.code, text_or_null(finding.object), finding.detail,
                 text_or_null(finding.fix_sql), text_or_null(finding.fix_lock), evidence);
    }
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_verify) {
    const Args args(fcinfo, "verify");
    ResultSet rows(fcinfo);
    for (const health::Verdict& verdict :
         health::verify(args.relation(0, "target"), catalog::settings::now())) {
        const std::optional<std::int64_t> job =
            verdict.job ? std::optional(verdict.job->value) : std::nullopt;
        rows.add(job, verdict.what, verdict.ok, verdict.detail);
    }
    return Datum{0};
}

ORCHESTRY_FUNCTION(orchestry_now) { return TimestampTzGetDatum(catalog::settings::now().us); }

ORCHESTRY_FUNCTION(orchestry_has_rows) {
    const Args args(fcinfo, "_has_rows");
    const Oid relid = args.relation(0, "relation");
    if (!catalog::may_act_for(ROLE_PG_MONITOR)) // who may know of everybody's tables
        catalog::require_owner_of(relid);
    const char kind = pg::call<get_rel_relkind>(relid);
    if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE) // a view runs its functions
        throw base::Error("42809",
                          "relation " + pg::require_relation_name(relid) + " is not a table")
            .hint("Run SELECT partition FROM orchestry.partitions;");
    const catalog::AsOwner owner(relid);
    pg::Spi spi;
    spi.read("SELECT EXISTS (SELECT FROM ONLY " + pg::require_relation_name(relid) + ")");
    return BoolGetDatum(spi.row(0).boolean(1));
}

ORCHESTRY_FUNCTION(orchestry_sequence_position) {
    const Args args(fcinfo, "_sequence_position");
    const Oid relid = args.relation(0, "sequence");
    const bool may_read = pg::protect([&] {
        return pg_class_aclcheck(relid, GetUserId(), ACL_USAGE | ACL_SELECT) == ACLCHECK_OK;
    });
    if (!may_read && !catalog::may_act_for(ROLE_PG_MONITOR))
        PG_RETURN_NULL();
    const catalog::Elevated elevated;
    // Called without a query, of which thousands of sequences would feel each.
    return pg::protect([&] {
        LOCAL_FCINFO(call, 1);
        InitFunctionCallInfoData(*call, nullptr, 1, InvalidOid, nullptr, nullptr);
        call->args[0] = {ObjectIdGetDatum(relid), false};
        const Datum value = pg_sequence_last_value(call);
        fcinfo->isnull = call->isnull;
        return value;
    });
}

ORCHESTRY_FUNCTION(orchestry_tuple_bytes) {
    const Args args(fcinfo, "_tuple_bytes");
    const std::vector<std::int64_t> lengths = args.bigints(0, "lengths");
    const std::vector<std::int64_t> alignments = args.bigints(1, "alignments");
    const std::vector<double> widths = args.float8s(2, "widths");
    const std::vector<double> shares = args.float8s(3, "shares");
    if (alignments.size() != lengths.size() || widths.size() != lengths.size() ||
        shares.size() != lengths.size())
        throw base::Error(base::errc::invalid_parameter, "arrays must be of one length");
    std::vector<base::Field> fields;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        const bool is_alignment =
            alignments[i] == 1 || alignments[i] == 2 || alignments[i] == 4 || alignments[i] == 8;
        if (!is_alignment || !(widths[i] >= 0 && widths[i] <= MaxAllocSize) ||
            !(shares[i] >= 0 && shares[i] <= 1))
            throw base::Error(base::errc::invalid_parameter,
                              "alignment, width or share is out of range");
        fields.push_back({lengths[i] > 0, alignments[i], widths[i], shares[i]});
    }
    return Float8GetDatum(base::tuple_bytes(fields));
}

} // namespace orchestry::api
