#include "matview/inspect.hpp"

#include <algorithm>

#include "base/hash.hpp"
#include "capture/capture.hpp"
#include "capture/ddl.hpp"

namespace orchestry::matview {

using base::Instant;

namespace {

constexpr const char* select_sql =
    "SELECT j.job_id, j.target, c.relowner, c.relispopulated, j.paused, "
    "p.max_staleness, p.mode, p.change_detection, p.max_unverified, p.assume_pure, j.time_zone, "
    "orchestry._proven_at(s.job_id, s.refreshed_at, s.as_of), s.refreshed_at, s.definition, "
    "s.counters, "
    "EXISTS (SELECT FROM orchestry.dirty_mark m WHERE m.job_id OPERATOR(pg_catalog.=) j.job_id), "
    // As the server's own is_usable_unique_index().
    "EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x "
    "ON x.oid OPERATOR(pg_catalog.=) i.indexrelid JOIN pg_catalog.pg_am a "
    "ON a.oid OPERATOR(pg_catalog.=) x.relam WHERE i.indrelid OPERATOR(pg_catalog.=) j.target "
    "AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL "
    "AND i.indexprs IS NULL AND a.amname OPERATOR(pg_catalog.=) 'btree'), "
    // What the server has counted is lost in a crash; then the rows of the last vacuum are known.
    "GREATEST(pg_catalog.pg_stat_get_live_tuples(c.oid), c.reltuples::pg_catalog.int8), "
    "pg_catalog.pg_stat_get_dead_tuples(c.oid), "
    "(SELECT pg_catalog.max(d) FROM pg_catalog.unnest(s.durations) d), "
    "pg_catalog.has_database_privilege(c.relowner, $2, 'TEMPORARY') "
    "FROM orchestry.job j JOIN orchestry.refresh_policy p ON p.job_id OPERATOR(pg_catalog.=) "
    "j.job_id JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) j.target "
    "JOIN orchestry.job_state t ON t.job_id OPERATOR(pg_catalog.=) j.job_id "
    "LEFT JOIN orchestry.refresh_state s ON s.job_id OPERATOR(pg_catalog.=) j.job_id "
    "WHERE j.target OPERATOR(pg_catalog.=) ANY ($3) "
    "AND j.origin_system OPERATOR(pg_catalog.=) $1 AND j.origin_database "
    "OPERATOR(pg_catalog.=) $2";

std::optional<std::int64_t> optional_bigint(const pg::Row& row, int column) {
    return row.is_null(column) ? std::nullopt : std::optional(row.bigint(column));
}

std::optional<Instant> optional_instant(const pg::Row& row, int column) {
    return row.is_null(column) ? std::nullopt : std::optional(row.instant(column));
}

// --- sources ------------------------------------------------------------------------------------

std::string name_of(Oid relid) { return pg::relation_name(relid).value_or(std::to_string(relid)); }

bool has_rights_of(Oid role, Oid owner) {
    return pg::protect([&] { return OidIsValid(owner) && has_privs_of_role(role, owner); });
}

/// Whether all that a view reads is read with its owner's rights: not through views of others, nor
/// through functions, which may have other rights.
bool reads_as_owner(const InspectedView& view) {
    return !view.reads.has_bodies &&
           std::all_of(view.reads.views.begin(), view.reads.views.end(),
                       [&](Oid plain) { return catalog::owner_of(plain) == view.owner; });
}

/// Whether row security may hide rows of a table from whoever reads it for a view.
bool hides_rows(Oid relid, const InspectedView& view) {
    const bool is_own = catalog::owner_of(relid) == view.owner && reads_as_owner(view);
    return pg::protect([&] {
        const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
        if (!HeapTupleIsValid(tuple))
            return false;
        const auto* const table = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
        const bool hides = table->relrowsecurity && (table->relforcerowsecurity || !is_own);
        ReleaseSysCache(tuple);
        return hides;
    });
}

bool is_foreign(Oid relid) {
    return pg::call<get_rel_relkind>(Oid{relid}) == RELKIND_FOREIGN_TABLE;
}

/// Why a view may be another one although nothing was seen, because of one of its sources.
struct Doubt {
    std::string why;        ///< a clause; empty: it cannot
    bool is_watched = true; ///< changes of the source are seen all the same
    bool can_be_waived = true;
};

/// Whether rows of a table itself could be watched, were it not for others of its family.
bool is_watchable(Oid table, const InspectedView& view) {
    return pg::call<get_rel_relkind>(Oid{table}) == RELKIND_RELATION &&
           pg::call<get_rel_persistence>(Oid{table}) == RELPERSISTENCE_PERMANENT &&
           has_rights_of(view.owner, catalog::owner_of(table));
}

/// Why changes of a table cannot all be seen, as a clause; empty: they can.
std::string why_unseen(Oid relid, const InspectedView& view) {
    const char kind = pg::call<get_rel_relkind>(Oid{relid});
    if (relid < FirstNormalObjectId)
        return "it reads " + name_of(relid) + ", a table of the server itself";
    if (is_foreign(relid))
        return "it reads foreign table " + name_of(relid);
    if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
        return "it reads " + name_of(relid) + ", whose changes cannot be seen";
    const std::vector<Oid> family = pg::family_of(relid);
    if (view.view.policy.detection == Detection::stats) {
        if (std::any_of(family.begin(), family.end(), is_foreign))
            return "it reads " + name_of(relid) + ", which has foreign partitions";
        return {};
    }
    if (!capture::why_unwatchable(relid).empty())
        return "it reads " + name_of(relid) + ", of which a part is foreign or unlogged";
    for (const Oid table : family)
        if (!has_rights_of(view.owner, catalog::owner_of(table)))
            return "it reads " + name_of(table) +
                   ", which belongs to somebody else and so cannot be watched";
    return {};
}

/// A table of which no part can be watched is one that does not count, if somebody says so. But who
/// says that does not mean the changes of the other parts; nor can these be watched without the
/// rest, which would stop nobody from making more of it.
Doubt doubt_of(Oid relid, const InspectedView& view) {
    Doubt doubt;
    doubt.why = why_unseen(relid, view);
    doubt.is_watched = doubt.why.empty();
    if (!doubt.is_watched && view.view.policy.detection == Detection::triggers) {
        const std::vector<Oid> family = pg::family_of(relid);
        doubt.can_be_waived = relid < FirstNormalObjectId ||
                              std::none_of(family.begin(), family.end(),
                                           [&](Oid table) { return is_watchable(table, view); });
    }
    if (hides_rows(relid, view))
        doubt.why = "row security may hide rows of " + name_of(relid);
    return doubt;
}

/// What a watch has to be put on so that all changes of a table are seen.
std::vector<Oid> tables_to_watch(const SourceTable& source) {
    if (!source.with_heirs)
        return {source.relid};
    std::vector<Oid> tables;
    for (const Oid table : pg::family_of(source.relid))
        if (table == source.relid || !pg::call<get_rel_relispartition>(Oid{table}))
            tables.push_back(table);
    return tables;
}

bool contains(const std::vector<Oid>& oids, Oid oid) {
    return std::find(oids.begin(), oids.end(), oid) != oids.end();
}

bool is_part_of(Oid relid, const std::vector<Oid>& tables) {
    while (pg::call<get_rel_relispartition>(Oid{relid})) {
        relid = pg::protect([&] { return get_partition_parent(relid, true); });
        if (contains(tables, relid))
            return true;
    }
    return false;
}

/// Where the sources are and why not all of them can be seen.
void find_sources(InspectedView& view) {
    const bool waives = view.settings.assume_pure;
    std::string& opaque = view.view.opaque;
    opaque = waives ? std::string() : view.reads.opaque;
    for (const SourceTable& source : view.reads.tables) {
        Doubt doubt = doubt_of(source.relid, view);
        // What could not be seen before a reason went away is a change.
        view.reads.definition = base::splitmix64(view.reads.definition ^ base::fnv1a64(doubt.why));
        if (doubt.is_watched)
            for (const Oid table : tables_to_watch(source))
                if (!contains(view.tables, table))
                    view.tables.push_back(table);
        if (opaque.empty() && !(waives && doubt.can_be_waived))
            opaque = std::move(doubt.why);
    }
    std::erase_if(view.tables, [&](Oid table) { return is_part_of(table, view.tables); });
    std::sort(view.tables.begin(), view.tables.end());
    if (view.view.policy.detection == Detection::none)
        opaque = "change_detection is none";
    else if (view.view.policy.detection == Detection::stats && !pgstat_track_counts)
        opaque = "track_counts is off";
    else if (view.view.policy.detection == Detection::triggers && !capture::is_everywhere())
        opaque = "the library is not preloaded";
}

/// A fingerprint of the columns of all that a view reads. Those of partitions come with their
/// table, but for how they are generated: a new partition is no change.
std::uint64_t columns_of(const InspectedView& view) {
    std::vector<Oid> relations = view.reads.matviews;
    relations.insert(relations.end(), view.reads.views.begin(), view.reads.views.end());
    std::vector<Oid> families;
    for (const SourceTable& source : view.reads.tables) {
        const std::vector<Oid> watched = tables_to_watch(source);
        relations.insert(relations.end(), watched.begin(), watched.end());
        const std::vector<Oid> family = pg::family_of(source.relid);
        families.insert(families.end(), family.begin(), family.end());
    }
    pg::Spi spi;
    spi.run(
        "SELECT pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', "
        "(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attrelid, a.attnum, a.xmin), "
        "',' ORDER BY a.attrelid, a.attnum) FROM pg_catalog.pg_attribute a "
        "WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1) "
        "AND a.attnum OPERATOR(pg_catalog.>) 0), "
        "(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', d.adrelid, d.adnum, d.xmin), "
        "',' ORDER BY d.adrelid, d.adnum) FROM pg_catalog.pg_attrdef d "
        "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) d.adrelid "
        "AND a.attnum OPERATOR(pg_catalog.=) d.adnum "
        "WHERE d.adrelid OPERATOR(pg_catalog.=) ANY ($2) "
        "AND a.attgenerated OPERATOR(pg_catalog.<>) '')), 0)",
        relations, families);
    return static_cast<std::uint64_t>(spi.row(0).bigint(1));
}

std::int64_t definition_of(const InspectedView& view) {
    std::uint64_t hash = base::splitmix64(view.reads.definition ^ columns_of(view));
    for (const Oid table : view.tables)
        hash = base::splitmix64(hash ^ table);
    for (const Oid parent : view.reads.matviews)
        hash = base::splitmix64(hash ^ parent);
    return static_cast<std::int64_t>(hash);
}

/// A fingerprint of how often the tables that a view reads have changed, as the server counts it.
/// Whatever makes the counters begin anew, or gives a table other files, changes it as well.
std::int64_t counters_of(const InspectedView& view) {
    std::vector<Oid> tables;
    for (const SourceTable& source : view.reads.tables)
        for (const Oid table : pg::family_of(source.relid))
            if (!contains(tables, table))
                tables.push_back(table);
    pg::protect([] { pgstat_clear_snapshot(); });
    pg::Spi spi;
    spi.run("SELECT pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', "
            "pg_catalog.pg_postmaster_start_time(), "
            "(SELECT pg_catalog.pg_stat_get_db_stat_reset_time(d.oid) FROM pg_catalog.pg_database "
            "d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()), "
            "(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', c.oid, c.relfilenode, "
            "pg_catalog.pg_stat_get_tuples_inserted(c.oid), "
            "pg_catalog.pg_stat_get_tuples_updated(c.oid), "
            "pg_catalog.pg_stat_get_tuples_deleted(c.oid)), ',' ORDER BY c.oid) "
            "FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1))), 0)",
            tables);
    return spi.row(0).bigint(1);
}

} // namespace

Inspector::Inspector(const std::vector<catalog::Job>& jobs) {
    std::vector<Oid> matviews;
    for (const catalog::Job& job : jobs)
        matviews.push_back(job.target);
    load(matviews);
}

/// Reads what is known of some views before their queries are read.
void Inspector::load(const std::vector<Oid>& matviews) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run_kept(select_sql, catalog::system_identifier(), MyDatabaseId, matviews);
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        const Oid relid = row.oid(2);
        InspectedView& found = views_[relid];
        found.job = {row.bigint(1)};
        found.owner = row.oid(3);
        found.is_paused = row.boolean(5);
        found.settings = {row.span(6), row.text(7),     row.text(8),
                          row.span(9), row.boolean(10), row.text(11)};
        found.view.relid = relid;
        found.view.quoted = name_of(relid);
        found.view.policy = check(found.settings);
        found.view.is_populated = row.boolean(4);
        found.view.has_key = row.boolean(17);
        found.view.live_rows = row.bigint(18);
        found.view.dead_rows = row.bigint(19);
        if (!row.is_null(20))
            found.view.longest_us = row.span(20).us;
        found.view.has_temporary = row.boolean(21);
        found.view.as_of = optional_instant(row, 12);
        found.view.refreshed_at = optional_instant(row, 13);
        known_definition_[relid] = optional_bigint(row, 14);
        known_counters_[relid] = optional_bigint(row, 15);
        is_marked_[relid] = row.boolean(16);
    }
}

/// The view with what its query reads; nullptr when it has no policy.
const InspectedView* Inspector::find(Oid matview) {
    auto known = views_.find(matview);
    if (known == views_.end()) {
        load({matview});
        known = views_.find(matview);
    }
    if (known == views_.end())
        return nullptr;
    InspectedView& found = known->second;
    if (is_read_[matview])
        return &found;
    is_read_[matview] = true;
    found.reads = read_query(matview);
    find_sources(found);
    View& view = found.view;
    view.parents.assign(found.reads.matviews.begin(), found.reads.matviews.end());
    found.definition = definition_of(found);
    if (view.policy.detection == Detection::triggers && view.opaque.empty())
        found.unwatched = capture::unwatched(found.job, found.tables);
    for (const Oid table : found.unwatched)
        view.unwatched.push_back(name_of(table));
    if (view.policy.detection == Detection::stats)
        found.counters = counters_of(found);
    if (is_marked_[matview])
        view.change = "what it reads has changed";
    else if (known_definition_[matview] != found.definition)
        view.change = "its query, or what that is made of, is another one by now";
    else if (view.opaque.empty() && known_counters_[matview] != found.counters)
        view.change = "the server has counted changes of what it reads";
    return &found;
}

namespace {

/// A run may have waited while the view was dropped.
base::Error without_policy(const catalog::Job& job) {
    const std::string id = std::to_string(job.id.value);
    if (!pg::relation_name(job.target))
        return base::Error(base::errc::undefined_object,
                           "the materialized view of job " + id + " is gone")
            .hint("CALL orchestry.run_due(); removes the job, or SELECT orchestry.remove_policy(" +
                  id + ");");
    return base::Error(base::errc::undefined_object,
                       "job " + id + " has no refresh policy any more")
        .hint("See SELECT job_id, kind, target FROM orchestry.jobs;");
}

} // namespace

InspectedSet Inspector::read(const catalog::Job& job) {
    InspectedSet set;
    std::vector<Oid> open = {job.target};
    for (std::size_t i = 0; i < open.size(); ++i) {
        const InspectedView* const found = find(open[i]);
        if (!found && i == 0)
            throw without_policy(job);
        if (!found)
            continue;
        set.views.push_back(found->view);
        set.views.back().is_ours =
            i == 0 || (!found->is_paused && has_rights_of(job.owner, found->owner));
        set.details.push_back(*found);
        for (const Oid parent : found->reads.matviews)
            if (!contains(open, parent))
                open.push_back(parent);
    }
    return set;
}

std::optional<std::string> suggested_index(const View& view) {
    if (view.has_key)
        return std::nullopt;
    std::string columns;
    for (const std::string& column : distinct_columns(view.relid))
        columns += (columns.empty() ? "" : ", ") + pg::quote_identifier(column);
    if (columns.empty())
        return std::nullopt;
    return "CREATE UNIQUE INDEX ON " + view.quoted + " (" + columns + ");";
}

} // namespace orchestry::matview
