#include "partition/verify.hpp"

#include "catalog/job.hpp"
#include "partition/inspect.hpp"

#include <algorithm>

namespace orchestry::partition {

namespace {

/// The next run would make it, or cannot.
void find_missing(const Set& set, const Policy& policy, base::Instant now,
                  std::vector<Finding>& findings) {
    for (const PlannedStep& step : plan_inspected(set, policy, now)) {
        const std::string object =
            step.name.empty() ? step.object : set.schema + "." + pg::quote_identifier(step.name);
        if (!step.blocked_by.empty())
            findings.push_back({object, step.blocked_by});
        else if (step.action == Action::create)
            findings.push_back({object, "is not there yet: " + step.reason});
    }
}

void find_unindexed(const Set& set, std::vector<Finding>& findings) {
    pg::Spi spi;
    spi.run("SELECT m.inhrelid, i.indexrelid FROM pg_catalog.pg_index i "
            "JOIN pg_catalog.pg_inherits m ON m.inhparent OPERATOR(pg_catalog.=) i.indrelid "
            "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) m.inhrelid "
            "AND c.relkind OPERATOR(pg_catalog.<>) 'f' "
            "WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND NOT EXISTS (SELECT FROM "
            "pg_catalog.pg_inherits h JOIN pg_catalog.pg_index k "
            "ON k.indexrelid OPERATOR(pg_catalog.=) h.inhrelid "
            "WHERE h.inhparent OPERATOR(pg_catalog.=) i.indexrelid "
            "AND k.indrelid OPERATOR(pg_catalog.=) m.inhrelid AND k.indisvalid) "
            "ORDER BY m.inhrelid, i.indexrelid",
            Oid{set.relid});
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        findings.push_back(
            {pg::relation_name(spi.row(i).oid(1)).value_or(""),
             "has no valid index of " + pg::relation_name(spi.row(i).oid(2)).value_or("")});
}

/// How many tables the server would read for the rows of one key.
std::int64_t tables_read(const Set& set, std::int64_t at) {
    PlannedStep rows;
    rows.range = {Bound::value(at), Bound::value(at + 1)};
    pg::Spi spi;
    spi.run("EXPLAIN (FORMAT JSON) SELECT FROM " + set.quoted + " WHERE " +
            range_condition(set, rows));
    const std::string plan = spi.row(0).text(1);
    spi.run("SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_path_query($1::pg_catalog.jsonb, "
            "'strict $.**.\"Relation Name\"')",
            plan);
    return spi.row(0).bigint(1);
}

void find_unused(const Set& set, std::int64_t at, std::vector<Finding>& findings) {
    const auto open =
        std::find_if(set.members.begin(), set.members.end(), [&](const Member& member) {
            return !member.detach_pending && member.range.contains(at);
        });
    if (open == set.members.end()) {
        findings.push_back({set.quoted, set.fallback ? "rows of now go into the default partition"
                                                     : "no partition takes rows of now"});
        return;
    }
    const std::int64_t read = tables_read(set, at);
    if (read > static_cast<std::int64_t>(pg::family_of(open->relid).size()))
        findings.push_back({set.quoted, "a query of rows of now alone, which are in " +
                                            open->quoted + ", reads " + std::to_string(read) +
                                            " tables"});
}

} // namespace

std::vector<Finding> verify(Oid parent, base::Instant now) {
    catalog::require_owner_of(parent);
    const StoredPolicy stored = require_policy(parent);
    const catalog::AsOwner owner(parent); // what is planned may have the owner's functions in it
    const UnforcedRowSecurity all_rows;
    const CheckedPolicy policy(stored.settings, catalog::require_key_column(parent),
                               Names::checked_before);
    const Set set = inspect(parent, policy.kind());
    std::vector<Finding> findings;
    find_missing(set, policy.plan(), now, findings);
    find_unindexed(set, findings);
    find_unused(set, here(set, policy.plan(), now), findings);
    return findings;
}

} // namespace orchestry::partition
