#include "catalog/hold.hpp"

#include "catalog/columns.hpp"
#include "catalog/compression.hpp"
#include "catalog/hold_condition.hpp"
#include "catalog/settings.hpp"
#include "pg/fault.hpp"
#include "pg/lock.hpp"
#include "pg/predicate.hpp"
#include "pg/xact.hpp"

#include <algorithm>

namespace orchestry::catalog {

using base::Error;
namespace errc = base::errc;

bool any_in_force() {
    const pg::SecureContext owner(owner_of(hold_table()), pg::Restriction::none);
    pg::Spi spi;
    return spi.read_latest("SELECT FROM orchestry.hold h WHERE h.released_at IS NULL LIMIT 1") > 0;
}

Oid hold_table() {
    return pg::protect([] {
        const Oid schema = get_namespace_oid("orchestry", true);
        return OidIsValid(schema) ? get_relname_relid("hold", schema) : InvalidOid;
    });
}

bool holds_are_readable() {
    return OidIsValid(hold_table()) && pg::protect([] {
               const Oid schema = get_namespace_oid("orchestry", true);
               return OidIsValid(get_relname_relid("_hold", schema)) &&
                      OidIsValid(get_relname_relid("_detached", schema));
           });
}

std::string describe(const Hold& hold) {
    return "hold " + std::to_string(hold.id) + " (" + hold.reason + ")";
}

std::string release_command(std::int64_t hold_id) {
    return "SELECT orchestry.release_hold(" + std::to_string(hold_id) + ", 'why');";
}

// --- to hold and to release ---------------------------------------------------------------------

namespace {

void require_holdable(Oid relid) {
    const std::string name = pg::relation_name(relid).value_or("");
    const char kind = pg::call<get_rel_relkind>(relid);
    const char persistence =
        pg::protect([&] { return kind == '\0' ? '\0' : get_rel_persistence(relid); });
    if (kind == '\0')
        throw Error("42P01", "the table with OID " + std::to_string(relid) + " does not exist");
    if ((kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
        persistence != RELPERSISTENCE_TEMP)
        return;
    throw Error(errc::wrong_object_type, "only a permanent table can be held")
        .detail(name + " is none.")
        .hint("Hold the tables that its rows come from.");
}

/// Waits for those who remove rows, but not without end: one of them may be a long transaction with
/// a TRUNCATE. Nobody who only uses tables waits behind this.
void lock_record() {
    (void)pg::lock_for_caller({{hold_table(), RowExclusiveLock}},
                              settings::lock_budget_us() * settings::lock_attempts,
                              "rows are being removed at this moment");
}

std::int64_t insert_hold(const Hold& hold) {
    const Elevated elevated;
    pg::Spi spi;
    const auto finite = [](base::Instant instant) {
        return base::is_finite(instant) ? pg::param(instant) : pg::null_param(TIMESTAMPTZOID);
    };
    spi.run("INSERT INTO orchestry.hold (relid, schema_name, table_name, from_at, to_at, "
            "predicate, reason, created_at, "
            "origin_system, origin_database, column_names, column_numbers) "
            "SELECT c.oid, n.nspname, c.relname, $2, $3, $4, $5, $6, $7, $8, "
            "$9::pg_catalog.name[], " +
                numbers_of_columns_sql("c.oid", "$9::pg_catalog.name[]") +
                " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid "
                "OPERATOR(pg_catalog.=) c.relnamespace "
                "WHERE c.oid OPERATOR(pg_catalog.=) $1 RETURNING hold_id",
            hold.relid, finite(hold.extent.from), finite(hold.extent.to),
            hold.predicate.empty() ? pg::null_param(TEXTOID) : pg::param(hold.predicate),
            hold.reason, settings::now(), system_identifier(), MyDatabaseId,
            hold.predicate.empty() ? pg::null_param(TEXTARRAYOID) : pg::param(hold.columns));
    if (spi.rows() != 1)
        throw Error(errc::undefined_object, "the table to be held does not exist any more");
    ORCHESTRY_FAULT_POINT("hold recorded");
    return spi.row(0).bigint(1);
}

} // namespace

std::int64_t add_hold(Hold hold) {
    require_holdable(hold.relid);
    require_owner_of(hold.relid);
    if (hold.reason.find_first_not_of(" \t\r\n") == std::string::npos)
        throw Error(errc::invalid_parameter, "a hold needs a reason")
            .hint("Say who asked for it and when it can end: reason => 'case 12/2026, until the "
                  "verdict'.");
    if (hold.extent.from >= hold.extent.to)
        throw Error(errc::invalid_parameter, "\"from\" must be before \"to\"")
            .hint("Leave either out for a hold that is open at that end.");
    // What removes rows at this moment is waited for: its locks conflict with this one.
    (void)pg::lock_relations({{hold.relid, AccessShareLock}}, settings::lock_budget_us());
    if (!hold.predicate.empty()) {
        hold.predicate = pg::check_predicate(hold.relid, hold.predicate, "where",
                                             pg::SessionState::may_matter, pg::WholeRow::refused);
        hold.columns = pg::columns_of_predicate(hold.relid, hold.predicate);
    }
    lock_record();
    return insert_hold(hold);
}

namespace {

/// The table of a hold that is in force; InvalidOid: that is gone. Locks the row.
Oid lock_hold(std::int64_t id) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT FROM orchestry.hold h WHERE h.hold_id OPERATOR(pg_catalog.=) $1 FOR UPDATE",
            id);
    spi.run("SELECT h.held, h.released_by FROM orchestry._hold h WHERE h.hold_id "
            "OPERATOR(pg_catalog.=) $1",
            id);
    if (spi.rows() == 0)
        throw Error(errc::undefined_object, "hold " + std::to_string(id) + " does not exist")
            .hint("See SELECT hold_id, relation, reason FROM orchestry.holds;");
    const pg::Row row = spi.row(0);
    if (!row.is_null(2))
        throw Error(errc::not_prerequisite_state,
                    "hold " + std::to_string(id) + " was released already")
            .detail("It was released by " + row.text(2) + ".");
    return row.is_null(1) ? InvalidOid : row.oid(1);
}

} // namespace

void release_hold(std::int64_t id, const std::string& reason) {
    if (reason.find_first_not_of(" \t\r\n") == std::string::npos)
        throw Error(errc::invalid_parameter, "the release of a hold needs a reason");
    const Oid relid = lock_hold(id);
    if (OidIsValid(relid))
        require_owner_of(relid);
    else if (!superuser())
        throw Error(errc::insufficient_privilege,
                    "must be superuser to release the hold of a table that is gone");
    lock_record();
    const Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.hold SET released_at = $2, released_by = session_user, "
            "release_reason = $3 "
            "WHERE hold_id OPERATOR(pg_catalog.=) $1",
            id, settings::now(), reason);
    ORCHESTRY_FAULT_POINT("hold released");
    // What the hold kept may be due at once.
    spi.run("UPDATE orchestry.job_state SET fingerprint = NULL, settled_from = NULL, "
            "settled_until = NULL WHERE "
            "settled_until IS NOT NULL");
}

// --- what is held -------------------------------------------------------------------------------

Holds::Holds() {
    const Elevated elevated;
    pg::Spi spi;
    spi.read_latest(
        "SELECT h.hold_id, h.held, h.from_at, h.to_at, h.predicate, h.reason, "
        "COALESCE(h.column_names, '{}')::pg_catalog.text[], h.column_numbers IS NULL OR " +
        has_columns_sql("h.held", "h.column_names", "h.column_numbers") +
        " FROM orchestry._hold h WHERE h.released_at IS NULL ORDER BY h.hold_id");
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        Hold hold{row.bigint(1),
                  row.is_null(2) ? InvalidOid : row.oid(2),
                  {},
                  row.text(5),
                  row.text(6),
                  {}};
        if (!row.is_null(3))
            hold.extent.from = row.instant(3);
        if (!row.is_null(4))
            hold.extent.to = row.instant(4);
        hold.columns = row.text_array(7);
        if (!row.boolean(8)) { // which rows were meant cannot be told any more
            hold.reason += "; every row, because a column of its condition was renamed";
            hold.predicate.clear();
            hold.columns.clear();
        }
        if (OidIsValid(hold.relid))
            holds_.push_back({std::move(hold), {}});
    }
    if (holds_.empty())
        return;
    for (Quarantined& record : all_detached())
        quarantine_.emplace(record.relid, std::move(record));
    for (Placed& placed : holds_)
        placed.place = place_of(placed.hold.relid);
}

std::vector<Oid> parents_of(Oid relid) {
    // What is committed now: the table may have come to its parents while a lock was waited for.
    if (!pg::call<has_superclass>(relid))
        return {};
    pg::Spi spi;
    spi.read_latest("SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid "
                    "OPERATOR(pg_catalog.=) $1 ORDER BY i.inhseqno",
                    relid);
    std::vector<Oid> parents;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        parents.push_back(spi.row(i).oid(1));
    return parents;
}

std::vector<Holds::Above> Holds::place_of(Oid relid) const {
    std::vector<Above> place;
    const auto add = [&](Above next) {
        // A table may inherit from another in several ways, and somebody may have made what a table
        // was detached from a partition of that table.
        const bool is_known =
            next.relid == relid || std::any_of(place.begin(), place.end(), [&](const Above& above) {
                return above.relid == next.relid;
            });
        if (OidIsValid(next.relid) && !is_known)
            place.push_back(std::move(next));
    };
    const auto climb = [&](Oid below, bool is_part) {
        const Oid parent = pg::protect([&] {
            return get_rel_relispartition(below) ? get_partition_parent(below, true) : InvalidOid;
        });
        if (OidIsValid(parent))
            add({parent, time_extent(parent, below), is_part});
        // What somebody has made a partition of another table since is no part of the first one.
        if (const auto found = quarantine_.find(below); found != quarantine_.end())
            add({found->second.parent, found->second.extent, is_part && !OidIsValid(parent)});
        if (OidIsValid(parent))
            return;
        for (const Oid above : parents_of(below))
            add({above, {}, false});
    };
    climb(relid, true);
    for (std::size_t next = 0; next < place.size(); ++next)
        climb(Oid{place[next].relid}, place[next].is_part);
    return place;
}

std::vector<Oid> Holds::lineage_of(Oid relid) const {
    std::vector<Oid> lineage;
    const auto add = [&](Oid from) {
        for (const Oid table : catalog::lineage_of(from))
            if (std::find(lineage.begin(), lineage.end(), table) == lineage.end())
                lineage.push_back(table);
    };
    add(relid);
    for (std::size_t next = 0; next < lineage.size(); ++next)
        if (const auto found = quarantine_.find(lineage[next]);
            found != quarantine_.end() && OidIsValid(found->second.parent))
            add(found->second.parent);
    return lineage;
}

bool Holds::is_below(Oid relid, Oid above) const {
    const std::vector<Oid> lineage = lineage_of(relid);
    return std::find(lineage.begin(), lineage.end(), above) != lineage.end();
}

std::vector<Hold> Holds::covering(Oid relid, const std::optional<base::TimeExtent>& extent) const {
    if (holds_.empty())
        return {};
    std::vector<Above> place = place_of(relid);
    if (extent && !place.empty() && place.front().is_part)
        place.front().extent = extent;
    return covering_from(place, relid);
}

std::vector<Hold> Holds::covering_at_any_time(Oid relid) const {
    if (holds_.empty())
        return {};
    std::vector<Above> place = place_of(relid);
    for (Above& above : place)
        above.extent.reset();
    return covering_from(place, relid);
}

std::vector<Holds::KeyTimes> Holds::key_times_of(Oid relid) const {
    const auto parent_of = [](Oid below) {
        return pg::protect([&] {
            return get_rel_relispartition(below) ? get_partition_parent(below, true) : InvalidOid;
        });
    };
    struct Part {
        Oid relid = InvalidOid, parent = InvalidOid;
    };
    std::vector<Part> upwards, downwards;
    for (Oid below = relid; below != InvalidOid;) {
        Oid parent = parent_of(below);
        if (const auto found = quarantine_.find(below);
            !OidIsValid(parent) && found != quarantine_.end())
            parent = found->second.parent;
        const bool is_known = std::any_of(upwards.begin(), upwards.end(), [&](const Part& part) {
            return part.relid == parent; // somebody has made a round of it
        });
        if (!OidIsValid(parent) || is_known)
            break;
        upwards.push_back({below, parent});
        below = parent;
    }
    if (pg::call<get_rel_relkind>(relid) == RELKIND_PARTITIONED_TABLE)
        for (const Oid part : pg::family_of(relid))
            if (part != relid)
                downwards.push_back({part, parent_of(part)});
    std::vector<KeyTimes> all;
    if (upwards.size() < 2 && downwards.empty())
        return all;
    const auto times_by = [&](const Part& part) -> std::optional<KeyTimes> {
        const auto key = OidIsValid(part.parent) ? time_key(part.parent) : std::nullopt;
        if (!key)
            return std::nullopt;
        if (const auto member = read_partition(part.parent, key->kind, part.relid))
            return KeyTimes{key->name, base::time_extent(key->kind, member->range)};
        const auto found = quarantine_.find(part.relid);
        const bool was_there = found != quarantine_.end() && found->second.parent == part.parent;
        return KeyTimes{key->name, was_there ? found->second.extent : std::nullopt};
    };
    // Of several bounds of one column all hold.
    for (const Part& part : upwards) {
        std::optional<KeyTimes> times = times_by(part);
        if (!times)
            continue;
        const auto same = std::find_if(all.begin(), all.end(), [&](const KeyTimes& known) {
            return known.column == times->column;
        });
        if (same == all.end())
            all.push_back(*std::move(times));
        else if (!same->extent)
            same->extent = times->extent;
        else if (times->extent)
            same->extent = base::TimeExtent{std::max(same->extent->from, times->extent->from),
                                            std::min(same->extent->to, times->extent->to)};
    }
    const std::size_t above = all.size();
    for (const Part& part : downwards) {
        std::optional<KeyTimes> times = times_by(part);
        const bool is_known =
            times &&
            std::any_of(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(above),
                        [&](const KeyTimes& known) { return known.column == times->column; });
        if (times && !is_known)
            all.push_back(*std::move(times));
    }
    return all;
}

std::vector<Hold> Holds::covering_from(const std::vector<Above>& place, Oid relid) const {
    const auto find = [](const std::vector<Above>& among, Oid table) {
        return std::find_if(among.begin(), among.end(),
                            [&](const Above& above) { return above.relid == table; });
    };
    std::optional<std::vector<KeyTimes>> key_times;
    const auto has_other_times_in = [&](const base::TimeExtent& extent) {
        if (!key_times)
            key_times = key_times_of(relid);
        return std::any_of(key_times->begin(), key_times->end(), [&](const KeyTimes& times) {
            return !times.extent || times.extent->overlaps(extent);
        });
    };
    std::vector<Hold> covering;
    for (const Placed& placed : holds_) {
        const auto above = find(place, placed.hold.relid);
        const auto below = find(placed.place, relid);
        const bool is_below =
            placed.hold.relid == relid || (below != placed.place.end() && below->is_part);
        const bool is_above = above != place.end() &&
                              (!above->extent || above->extent->overlaps(placed.hold.extent) ||
                               has_other_times_in(placed.hold.extent));
        if (!is_below && !is_above)
            continue;
        Hold& hold = covering.emplace_back(placed.hold);
        // The condition was said of rows as the held table shows them.
        if (hold.relid != relid && !hold.predicate.empty() &&
            !(is_above ? computed_otherwise(hold.relid, relid)
                       : computed_otherwise(relid, hold.relid))
                 .empty())
            hold.predicate.clear();
    }
    return covering;
}

std::vector<Hold> trusted(std::vector<Hold> holds, Oid role) {
    for (Hold& hold : holds)
        if (!hold.predicate.empty() && !stranger(hold.relid, role).empty())
            hold.predicate.clear();
    return holds;
}

namespace {

/// Keeps new holds from being committed before the transaction ends, for who is about to remove
/// rows. Not for a trigger, by which somebody's write would wait, nor for who may remove none.
void keep_holds_out(Oid relid) {
    const bool may_remove = pg::protect(
        [&] { return pg_class_aclcheck(relid, GetUserId(), ACL_DELETE) == ACLCHECK_OK; });
    if (!may_remove)
        return;
    {
        pg::Spi spi;
        spi.run("SELECT pg_catalog.pg_trigger_depth()");
        if (spi.row(0).integer(1) > 0)
            return;
    }
    (void)pg::lock_for_caller({{hold_table(), hold_lock_mode}},
                              settings::lock_budget_us() * settings::lock_attempts,
                              "holds are being set at this moment");
}

} // namespace

bool must_stay(Oid relid, const base::TimeExtent& extent) {
    keep_holds_out(relid);
    const Elevated elevated;
    pg::Spi spi;
    spi.read_latest(
        "WITH above AS MATERIALIZED (SELECT ARRAY(SELECT a.relid::pg_catalog.oid FROM "
        "pg_catalog.pg_partition_ancestors($1) a) OPERATOR(pg_catalog.||) $1 AS relids) "
        "SELECT EXISTS (SELECT FROM orchestry._hold h WHERE h.released_at IS NULL "
        "AND (h.from_at IS NULL OR h.from_at OPERATOR(pg_catalog.<) $3) "
        "AND (h.to_at IS NULL OR h.to_at OPERATOR(pg_catalog.>) $2) "
        "AND (h.held OPERATOR(pg_catalog.=) ANY ((SELECT a.relids FROM above a)::pg_catalog.oid[]) "
        "OR EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(h.held) b "
        "WHERE b.relid::pg_catalog.oid OPERATOR(pg_catalog.=) $1) "
        // What was detached from the held table before it came here.
        "OR EXISTS (SELECT FROM orchestry._detached d CROSS JOIN LATERAL "
        "pg_catalog.pg_partition_ancestors(d.parent) f "
        "WHERE f.relid::pg_catalog.oid OPERATOR(pg_catalog.=) h.held AND (d.relid "
        "OPERATOR(pg_catalog.=) ANY ((SELECT a.relids FROM above a)::pg_catalog.oid[]) "
        "OR EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(d.relid) b "
        "WHERE b.relid::pg_catalog.oid OPERATOR(pg_catalog.=) $1))))) "
        "OR EXISTS (SELECT FROM orchestry.job j JOIN orchestry._rollup_spans p ON p.job_id "
        "OPERATOR(pg_catalog.=) j.job_id WHERE j.kind OPERATOR(pg_catalog.=) 'rollup' "
        "AND j.target OPERATOR(pg_catalog.=) ANY ((SELECT a.relids FROM above "
        "a)::pg_catalog.oid[]) "
        "AND j.origin_system OPERATOR(pg_catalog.=) $4 AND j.origin_database "
        "OPERATOR(pg_catalog.=) $5 AND p.dirty OPERATOR(pg_catalog.&&) "
        "pg_catalog.tstzrange($2, $3))",
        relid, extent.from, extent.to, system_identifier(), MyDatabaseId);
    return spi.row(0).boolean(1);
}

void reconcile_holds() {
    const Elevated elevated;
    pg::Spi spi;
    spi.run(
        "UPDATE orchestry.hold h SET relid = c.oid, schema_name = n.nspname, table_name = "
        "c.relname, "
        "origin_system = $1, origin_database = $2, column_numbers = CASE WHEN (h.origin_system, "
        "h.origin_database) IS DISTINCT FROM ($1, $2) THEN " +
            numbers_of_columns_sql("c.oid", "h.column_names") +
            " ELSE h.column_numbers END FROM orchestry._hold r, pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
            "WHERE h.released_at IS NULL AND r.hold_id OPERATOR(pg_catalog.=) h.hold_id "
            "AND c.oid OPERATOR(pg_catalog.=) r.held "
            "AND (h.relid, h.schema_name, h.table_name, h.origin_system, h.origin_database) IS "
            "DISTINCT FROM "
            "(c.oid, n.nspname, c.relname, $1, $2)",
        system_identifier(), MyDatabaseId);
}

} // namespace orchestry::catalog
