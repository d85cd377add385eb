#include "migrate/backfill.hpp"

#include "catalog/columns.hpp"
#include "catalog/settings.hpp"
#include "pg/fault.hpp"
#include "pg/predicate.hpp"
#include "pg/statement.hpp"

#include <algorithm>

namespace orchestry::migrate {

namespace {

namespace errc = base::errc;
namespace settings = catalog::settings;

/// The table's name in our statements.
constexpr const char* row = "t";
/// Many rows may take days.
constexpr base::Span longest_run{0, 30, 0};
/// What a first batch takes, where the caller does not say.
constexpr std::int64_t first_batch = 1'000;
constexpr const char* generated_always = "428C9";
/// A batch waits this long for a row that somebody has locked; others wait for the batch meanwhile.
constexpr const char* row_lock_timeout = "50ms";

std::string of_row(const std::string& column) {
    return std::string(row) + "." + pg::quote_identifier(column);
}

template <typename F>
std::string list(const std::vector<std::string>& items, F&& each) {
    std::string text;
    for (std::size_t i = 0; i < items.size(); ++i)
        text += (i == 0 ? "" : ", ") + each(i);
    return text;
}

// --- arguments ----------------------------------------------------------------------------------

struct Assignments {
    std::string sql;
    std::vector<std::string> columns;
    std::vector<std::string> valued; ///< those of them that are set to something else than DEFAULT
};

base::Error not_assignments(const char* detail) {
    return base::Error("42601", "\"set_sql\" must be what stands after SET in an UPDATE")
        .detail(detail)
        .hint("For example 'customer_id = memo ->> ''cust'''.");
}

/// Reads the assignments with the session's settings, and writes them with all names qualified.
Assignments read_assignments(Oid relid, const std::string& sql) {
    const std::string table = pg::require_relation_name(relid);
    const std::string start = "UPDATE " + table + " " + row + " SET ";
    const std::string update = start + sql;
    const pg::Statement statement = pg::read_statement(update, "set_sql");
    const char* const text = statement.sql.c_str();
    // Reading a constant of a domain runs the domain's checks: code of the table's owner.
    const std::string callers_path = namespace_search_path;
    pg::SecureContext owner(catalog::owner_of(relid), pg::Restriction::restricted);
    owner.guc().set("search_path", callers_path.c_str());
    Query* const query = pg::protect([&] {
        ErrorContextCallback pointer{error_context_stack, pg::point_into_text,
                                     const_cast<char*>(text)};
        error_context_stack = &pointer; // protect() takes it off
        RawStmt* const raw = linitial_node(RawStmt, pg_parse_query(text));
        return parse_analyze_fixedparams(raw, text, nullptr, 0, nullptr);
    });
    if (query->jointree->quals || list_length(query->jointree->fromlist) > 1 ||
        query->returningList)
        throw not_assignments("It has more clauses than that.");
    Assignments result;
    const List* const targets = query->targetList;
    for (int i = 0; i < list_length(targets); ++i) {
        const auto* const target = static_cast<const TargetEntry*>(list_nth(targets, i));
        if (target->resjunk)
            continue;
        result.columns.push_back(
            pg::protect([&] { return get_attname(relid, target->resno, false); }));
        if (!IsA(target->expr, SetToDefault))
            result.valued.push_back(result.columns.back());
    }
    owner.guc().set("search_path", "pg_catalog, pg_temp");
    pg::fix_formats(owner.guc());
    owner.guc().set("quote_all_identifiers", "off");
    const std::string written = pg::protect([&] { return pg_get_querydef(query, false); });
    constexpr std::string_view set = " SET "; // after the table and our name for it
    const std::string written_name = pg::require_relation_name(relid);
    const std::size_t name = written.find(written_name);
    const std::size_t at =
        name == std::string::npos ? name : written.find(set, name + written_name.size());
    if (at == std::string::npos)
        throw base::Error(errc::internal, "unexpected form of an update: " + written);
    result.sql = written.substr(at + set.size());
    return result;
}

/// The columns of a unique key that no row can be without: the primary key where there is one.
std::vector<std::string> find_key(Oid relid) {
    pg::Spi spi;
    spi.run("SELECT ARRAY(SELECT a.attname::pg_catalog.text FROM "
            "pg_catalog.generate_series(0, i.indnkeyatts::pg_catalog.int4 OPERATOR(pg_catalog.-) "
            "1) k JOIN "
            "pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND "
            "a.attnum OPERATOR(pg_catalog.=) i.indkey[k] ORDER BY k) FROM pg_catalog.pg_index i "
            "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid "
            "JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.relam "
            "WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indisunique AND i.indisvalid "
            "AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND "
            "m.amname OPERATOR(pg_catalog.=) 'btree' AND NOT EXISTS (SELECT FROM "
            "pg_catalog.generate_series(0, i.indnkeyatts::pg_catalog.int4 OPERATOR(pg_catalog.-) "
            "1) k JOIN "
            "pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND "
            "a.attnum OPERATOR(pg_catalog.=) i.indkey[k] JOIN pg_catalog.pg_opclass o ON o.oid "
            "OPERATOR(pg_catalog.=) i.indclass[k] WHERE NOT a.attnotnull OR "
            "a.attgenerated OPERATOR(pg_catalog.<>) '' OR EXISTS (SELECT FROM "
            "pg_catalog.pg_constraint u WHERE u.conrelid OPERATOR(pg_catalog.=) i.indrelid AND "
            "u.contype OPERATOR(pg_catalog.=) 'n' AND NOT u.convalidated AND u.conkey "
            "OPERATOR(pg_catalog.=) ARRAY[a.attnum]) OR NOT o.opcdefault OR "
            "o.opcnamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace OR "
            "i.indcollation[k] OPERATOR(pg_catalog.<>) a.attcollation) "
            "ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1",
            relid);
    return spi.rows() == 0 ? std::vector<std::string>() : spi.row(0).text_array(1);
}

/// Raises 428C9 when one of the columns is given its values by the table alone. A partition may
/// differ from its parent in that.
void require_settable(Oid relid, const std::string& table,
                      const std::vector<std::string>& columns) {
    pg::Spi spi;
    if (spi.run("SELECT a.attname, a.attgenerated OPERATOR(pg_catalog.<>) '' FROM "
                "pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND "
                "a.attname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($2) AND (a.attgenerated "
                "OPERATOR(pg_catalog.<>) '' OR a.attidentity OPERATOR(pg_catalog.=) 'a') "
                "ORDER BY a.attnum LIMIT 1",
                relid, columns) == 0)
        return;
    const std::string column = spi.row(0).text(1);
    const bool is_generated = spi.row(0).boolean(2);
    throw base::Error(generated_always, "column \"" + column + "\" cannot be set")
        .detail((is_generated ? "It is a generated column of "
                              : "It is an identity column, GENERATED ALWAYS, of ") +
                table + ".")
        .hint(is_generated ? "Set the columns that it is made of."
                           : "Run ALTER TABLE " + table + " ALTER COLUMN " +
                                 pg::quote_identifier(column) + " SET GENERATED BY DEFAULT;");
}

/// The tables that have the rows, each with the key that it is walked along.
std::vector<BackfillPart> find_parts(Oid relid, const Assignments& set) {
    std::vector<BackfillPart> parts;
    for (const Oid leaf : pg::family_of(relid)) {
        const char kind = pg::call<get_rel_relkind>(leaf);
        if (kind == RELKIND_PARTITIONED_TABLE)
            continue;
        const std::string name = pg::require_relation_name(leaf);
        if (kind != RELKIND_RELATION)
            throw base::Error(errc::wrong_object_type, name + " is a foreign table")
                .detail("A backfill walks along an index of the table itself.");
        if (const Oid owner = catalog::owner_of(relid); catalog::owner_of(leaf) != owner)
            throw base::Error(errc::insufficient_privilege,
                              name + " has another owner than the table it is part of")
                .detail("Rows are changed as the owner of the table.")
                .hint("Run ALTER TABLE " + name + " OWNER TO " + pg::role_name(owner) + ";");
        require_settable(leaf, name, set.valued);
        BackfillPart part;
        part.relid = leaf;
        part.key = find_key(leaf);
        if (part.key.empty())
            throw base::Error(errc::not_prerequisite_state, "table " + name + " has no unique key")
                .detail("Without one no row could be told from those that were done before.")
                .hint("Give it a primary key, or a unique btree index over columns that are NOT "
                      "NULL, of the server's own types.");
        for (const std::string& column : set.columns)
            if (std::find(part.key.begin(), part.key.end(), column) != part.key.end())
                throw base::Error(errc::feature_not_supported,
                                  "column \"" + column + "\" cannot be set")
                    .detail("It is part of the key along which the rows of " + name +
                            " are walked.");
        parts.push_back(std::move(part));
    }
    return parts;
}

void check_table(Oid relid) {
    const std::string name = pg::require_relation_name(relid);
    const char kind = pg::call<get_rel_relkind>(relid);
    const bool is_table = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
    if (!is_table || pg::protect([&] { return get_rel_persistence(relid); }) == RELPERSISTENCE_TEMP)
        throw base::Error(errc::wrong_object_type, name + " is not a permanent table");
}

// --- storage ------------------------------------------------------------------------------------

/// Of two who begin the same at the same time, the second finds the job of the first.
void wait_for_others() {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("LOCK TABLE orchestry.backfill IN SHARE ROW EXCLUSIVE MODE");
}

std::string setting(const char* name) {
    return pg::protect([&] { return GetConfigOption(name, false, false); });
}

std::optional<catalog::JobId> find_unfinished(Oid relid, const BackfillSettings& backfill) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    if (spi.read_latest(
            "SELECT b.job_id FROM orchestry.backfill b JOIN orchestry.job j ON j.job_id "
            "OPERATOR(pg_catalog.=) b.job_id WHERE j.target OPERATOR(pg_catalog.=) $1 AND "
            "j.origin_system OPERATOR(pg_catalog.=) $2 AND j.origin_database "
            "OPERATOR(pg_catalog.=) $3 AND b.assignments OPERATOR(pg_catalog.=) $4 AND "
            "b.predicate IS NOT DISTINCT FROM $5 AND b.time_zone OPERATOR(pg_catalog.=) $6 AND "
            "b.date_style OPERATOR(pg_catalog.=) $7 AND b.interval_style OPERATOR(pg_catalog.=) $8 "
            "ORDER BY b.job_id LIMIT 1",
            relid, catalog::system_identifier(), MyDatabaseId, backfill.assignments,
            backfill.predicate, backfill.time_zone, backfill.date_style,
            backfill.interval_style) == 0)
        return std::nullopt;
    return catalog::JobId{spi.row(0).bigint(1)};
}

/// Whoever calls again means it: a backfill that was cancelled goes on.
void take_up_again(catalog::JobId job, const BackfillSettings& backfill) {
    catalog::set_paused(job, false, std::nullopt);
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.backfill SET batch_rows = $2 WHERE job_id OPERATOR(pg_catalog.=) $1",
            job.value, backfill.batch_rows);
}

void store(catalog::JobId job, const BackfillSettings& backfill,
           const std::vector<BackfillPart>& parts) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.backfill (job_id, assignments, predicate, batch_rows, "
            "time_zone, date_style, interval_style) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            job.value, backfill.assignments, backfill.predicate, backfill.batch_rows,
            backfill.time_zone, backfill.date_style, backfill.interval_style);
    for (const BackfillPart& part : parts)
        spi.run("INSERT INTO orchestry.backfill_part (job_id, relid, key_columns) VALUES ($1, $2, "
                "$3)",
                job.value, part.relid, part.key);
}

/// All parts of a backfill, or one.
std::vector<BackfillPart> select_parts(catalog::JobId job, std::optional<Oid> relid) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT p.relid, p.key_columns::pg_catalog.text[], p.cursor, p.done, p.rows FROM "
            "orchestry.backfill_part p WHERE p.job_id OPERATOR(pg_catalog.=) $1 AND p.relid "
            "OPERATOR(pg_catalog.=) COALESCE($2, p.relid) ORDER BY p.relid",
            job.value, relid);
    std::vector<BackfillPart> parts;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row found = spi.row(i);
        BackfillPart part{found.oid(1), found.text_array(2), std::nullopt, found.boolean(4),
                          found.bigint(5)};
        if (!found.is_null(3))
            part.cursor = found.text_array(3);
        parts.push_back(std::move(part));
    }
    return parts;
}

void store_progress(catalog::JobId job, const BackfillPart& part) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.backfill_part SET cursor = $3, done = $4, rows = $5 WHERE job_id "
            "OPERATOR(pg_catalog.=) $1 AND relid OPERATOR(pg_catalog.=) $2",
            job.value, part.relid, part.cursor, part.done, part.rows);
}

} // namespace

std::optional<catalog::JobId> start_backfill(Oid relid, const std::string& assignments,
                                             const std::optional<std::string>& predicate,
                                             std::optional<std::int32_t> batch_rows,
                                             base::Instant now) {
    catalog::require_owner_of(relid);
    check_table(relid);
    if (batch_rows && *batch_rows < 1)
        throw base::Error(errc::invalid_parameter, "\"batch_rows\" must be positive");
    const Assignments read = read_assignments(relid, assignments);
    BackfillSettings backfill{read.sql,
                              std::nullopt,
                              batch_rows,
                              setting("TimeZone"),
                              setting("DateStyle"),
                              setting("IntervalStyle")};
    if (predicate)
        backfill.predicate =
            pg::check_predicate(relid, *predicate, "where", pg::SessionState::may_matter);
    wait_for_others();
    if (const auto unfinished = find_unfinished(relid, backfill)) {
        take_up_again(*unfinished, backfill);
        return *unfinished;
    }
    const std::vector<BackfillPart> parts = find_parts(relid, read);
    if (parts.empty())
        return std::nullopt;
    const catalog::JobId job =
        catalog::insert_job({"backfill", relid, "1 minute", "UTC", longest_run}, now,
                            base::plus(now, base::us_per_minute));
    store(job, backfill, parts);
    return job;
}

BackfillSettings load_backfill(catalog::JobId job) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    if (spi.run("SELECT b.assignments, b.predicate, b.batch_rows, b.time_zone, b.date_style, "
                "b.interval_style FROM orchestry.backfill b WHERE b.job_id "
                "OPERATOR(pg_catalog.=) $1",
                job.value) == 0)
        throw base::Error(errc::undefined_object,
                          "job " + std::to_string(job.value) + " has no backfill");
    const pg::Row found = spi.row(0);
    BackfillSettings backfill{found.text(1), std::nullopt,  std::nullopt,
                              found.text(4), found.text(5), found.text(6)};
    if (!found.is_null(2))
        backfill.predicate = found.text(2);
    if (!found.is_null(3))
        backfill.batch_rows = found.integer(3);
    return backfill;
}

std::vector<BackfillPart> load_parts(catalog::JobId job) { return select_parts(job, std::nullopt); }

std::optional<std::int64_t> estimated_rows(Oid relid) {
    pg::Spi spi;
    spi.run("SELECT c.reltuples::pg_catalog.int8 FROM pg_catalog.pg_class c WHERE c.oid "
            "OPERATOR(pg_catalog.=) $1",
            relid);
    if (spi.rows() == 0 || spi.row(0).bigint(1) < 0)
        return std::nullopt;
    return spi.row(0).bigint(1);
}

void finish_backfill(const catalog::Job& job) {
    const std::vector<BackfillPart> parts = load_parts(job.id);
    const std::vector<Oid> family = pg::family_of(job.target);
    const bool is_done = std::all_of(parts.begin(), parts.end(), [&](const BackfillPart& part) {
        return part.done || std::find(family.begin(), family.end(), part.relid) == family.end();
    });
    if (!parts.empty() && is_done)
        catalog::remove_job(job.id);
}

bool drop_unbegun(const catalog::Job& job, const pg::Failure& failure) {
    const auto is_class = [&](std::string_view two) { return failure.sqlstate.starts_with(two); };
    // Others, or the machine, were in the way: a later run may do better.
    if (failure.is(errc::lock_not_available) || is_class("40") || is_class("53") ||
        is_class("57") || is_class("58"))
        return false;
    const std::vector<BackfillPart> parts = load_parts(job.id);
    if (parts.empty() || std::any_of(parts.begin(), parts.end(), [](const BackfillPart& part) {
            return part.cursor || part.done;
        }))
        return false;
    catalog::remove_job(job.id);
    return true;
}

bool was_given_up(catalog::JobId job) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    return spi.read_latest("SELECT r.state FROM orchestry.run r WHERE r.job_id "
                           "OPERATOR(pg_catalog.=) $1 AND r.state OPERATOR(pg_catalog.<>) "
                           "'skipped' ORDER BY r.run_id DESC LIMIT 1",
                           job.value) > 0 &&
           spi.row(0).text(1) == "failed";
}

// --- the walk -----------------------------------------------------------------------------------

BackfillWalk::BackfillWalk(const catalog::Job& job, BackfillSettings backfill, BackfillPart part)
    : job_(job.id), root_(job.target), settings_(std::move(backfill)), part_(std::move(part)),
      name_(pg::require_relation_name(part_.relid)),
      keys_pace_(settings_.batch_rows.value_or(first_batch), settings::batch_target_us()),
      changes_pace_(keys_pace_), throttle_(part_.relid) {
    const std::vector<catalog::Column> columns = catalog::columns_of(part_.relid);
    for (const std::string& column : part_.key)
        types_.push_back(catalog::require_column(columns, part_.relid, column).type_name);
}

std::vector<pg::LockRequest> BackfillWalk::lock_requests() const {
    std::vector<pg::LockRequest> requests;
    if (root_ != part_.relid)
        requests.push_back({root_, AccessShareLock});
    requests.push_back({part_.relid, RowExclusiveLock});
    return requests;
}

std::string BackfillWalk::keys() const {
    return list(part_.key, [&](std::size_t i) { return of_row(part_.key[i]); });
}

/// "ROW(t.a, t.b) <= ROW('1'::bigint, 'x'::text)"
std::string BackfillWalk::condition(const std::vector<std::string>& bound,
                                    const char* comparison) const {
    return "ROW(" + keys() + ") OPERATOR(pg_catalog." + comparison + ") ROW(" +
           list(bound,
                [&](std::size_t i) { return pg::quote_literal(bound[i]) + "::" + types_[i]; }) +
           ")";
}

std::string BackfillWalk::sql() const {
    return "UPDATE ONLY " + name_ + " " + row + " SET " + settings_.assignments +
           (settings_.predicate ? " WHERE " + *settings_.predicate : "") + "; -- in batches";
}

/// The end of the next batch: after so many keys, or after so many rows that are to be changed
/// where only some are, whichever comes first. Without a key it is the last batch.
BackfillWalk::End BackfillWalk::end_of_batch() {
    const std::string key =
        "ARRAY[" +
        list(part_.key, [&](std::size_t i) { return of_row(part_.key[i]) + "::pg_catalog.text"; }) +
        "]";
    const std::string ahead = " FROM ONLY " + name_ + " " + row +
                              (part_.cursor ? " WHERE " + condition(*part_.cursor, ">") : "");
    const std::string keys_amount = std::to_string(keys_pace_.amount());
    pg::Spi spi;
    if (!settings_.predicate)
        spi.run("SELECT " + key + ", false" + ahead + " ORDER BY " + keys() + " OFFSET " +
                keys_amount + " - 1 LIMIT 1");
    else
        spi.run(
            "SELECT v.key, v.keys OPERATOR(pg_catalog.<) " + keys_amount + " FROM (SELECT " + key +
            " AS key, pg_catalog.row_number() OVER along AS keys, pg_catalog.count(*) "
            "FILTER (WHERE " +
            *settings_.predicate + ") OVER along AS changes" + ahead +
            " WINDOW along AS (ORDER BY " + keys() + " ROWS UNBOUNDED PRECEDING) ORDER BY " +
            keys() + " LIMIT " + keys_amount + ") AS v WHERE v.changes OPERATOR(pg_catalog.>=) " +
            std::to_string(changes_pace_.amount()) + " OR v.keys OPERATOR(pg_catalog.=) " +
            keys_amount + " ORDER BY v.keys LIMIT 1");
    if (spi.rows() == 0)
        return {};
    return {spi.row(0).text_array(1), spi.row(0).boolean(2)};
}

/// Where the walk has got to, by what is committed: should what follows a batch in its transaction
/// fail, it was not done. False: there is no such backfill any more.
bool BackfillWalk::read_position() {
    const std::vector<BackfillPart> parts = select_parts(job_, part_.relid);
    if (parts.empty())
        return false;
    part_ = parts.front();
    return true;
}

BackfillWalk::Batch BackfillWalk::next(std::int64_t lock_budget_us) {
    Batch batch;
    batch.message = throttle_.why_wait();
    if (!batch.message.empty()) {
        batch.state = Batch::State::wait;
        return batch;
    }
    batch.lock_wait_us = pg::lock_relations(lock_requests(), lock_budget_us);
    const auto gone = [&](const char* why) {
        batch.state = Batch::State::gone;
        batch.message = why;
        return batch;
    };
    if (pg::relation_name(part_.relid) != name_)
        return gone("it has another name by now, or is gone");
    if (!read_position())
        return gone("the backfill was removed meanwhile");
    if (part_.done) {
        batch.state = Batch::State::done;
        return batch;
    }
    const std::vector<Oid> family = pg::family_of(root_);
    if (std::find(family.begin(), family.end(), part_.relid) == family.end())
        return gone("it does not belong to the table any more");
    if (catalog::owner_of(part_.relid) != GetUserId())
        throw base::Error(errc::insufficient_privilege, name_ + " has another owner by now")
            .hint("Give it back to the owner of the table, and call again.");

    pg::GucLevel guc;
    guc.set("lock_timeout", row_lock_timeout);
    guc.set("extra_float_digits", "1"); // the keys are written and read again
    const std::int64_t start = GetCurrentTimestamp();
    const End end = end_of_batch();
    std::string update = "UPDATE ONLY " + name_ + " " + row + " SET " + settings_.assignments;
    const char* joint = " WHERE ";
    const auto restrict_to = [&](const std::string& condition) {
        update += joint + condition;
        joint = " AND ";
    };
    if (part_.cursor)
        restrict_to(condition(*part_.cursor, ">"));
    if (end.key)
        restrict_to(condition(*end.key, "<="));
    if (settings_.predicate)
        restrict_to("(" + *settings_.predicate + ")");
    try {
        pg::GucLevel formats; // the keys were written so that any of these reads them
        formats.set("TimeZone", settings_.time_zone.c_str());
        formats.set("DateStyle", settings_.date_style.c_str());
        formats.set("IntervalStyle", settings_.interval_style.c_str());
        pg::Spi spi;
        batch.rows = static_cast<std::int64_t>(spi.run(update));
    } catch (...) {
        if (!settings_.batch_rows) { // whatever stands in the way, less holds others up less
            keys_pace_.halve();
            changes_pace_.halve();
        }
        throw;
    }
    ORCHESTRY_FAULT_POINT("rows backfilled");
    part_.rows += batch.rows;
    part_.done = !end.key;
    if (end.key)
        part_.cursor = end.key;
    store_progress(job_, part_);
    if (end.key && !settings_.batch_rows)
        (end.after_changes ? changes_pace_ : keys_pace_).took(GetCurrentTimestamp() - start);
    batch.state = end.key ? Batch::State::more : Batch::State::done;
    return batch;
}

} // namespace orchestry::migrate
