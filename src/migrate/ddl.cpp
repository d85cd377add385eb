#include "migrate/ddl.hpp"

#include "base/backoff.hpp"
#include "base/text.hpp"
#include "catalog/columns.hpp"
#include "catalog/job.hpp"
#include "pg/statement.hpp"

namespace orchestry::migrate {

namespace {

namespace errc = base::errc;

constexpr const char* deadlock_detected = "40P01";
constexpr const char* check_violation = "23514";
constexpr std::int64_t pause_base_us = base::us_per_second / 10;
constexpr std::int64_t pause_cap_us = 5 * base::us_per_second;
/// How often a wait for a lock is looked at before it is given up.
constexpr std::int64_t looks = 4;

std::string seconds(std::int64_t us) { return std::to_string((us + 500'000) / 1'000'000) + " s"; }

std::string blockers(const pg::LockWatch& watch) {
    const std::optional<pg::LockRequest> lock = watch.seen();
    std::string names;
    if (lock)
        (void)pg::in_subtransaction([&] { // a message without names is better than none
            const catalog::Elevated elevated;
            names = pg::describe_blockers({*lock});
        });
    return names;
}

} // namespace

void change_patiently(pg::Session& session, const std::string& what, const Patience& patience,
                      const std::function<void()>& change) {
    const std::int64_t start = GetCurrentTimestamp();
    for (int attempt = 1;; ++attempt) {
        session.ensure_snapshot();
        std::optional<pg::Failure> failure;
        std::string in_the_way;
        {
            const pg::LockWatch watch(patience.lock_timeout_us / looks);
            failure = pg::in_subtransaction([&] {
                pg::GucLevel guc;
                pg::set_lock_timeout(guc, patience.lock_timeout_us);
                change();
            });
            if (failure)
                in_the_way = blockers(watch);
        }
        session.commit();
        const std::int64_t waited_us = GetCurrentTimestamp() - start;
        if (!failure) {
            if (attempt > 1)
                pg::report(NOTICE, what + ": done at attempt " + std::to_string(attempt) +
                                       ", after " + seconds(waited_us));
            return;
        }
        if (!failure->is(errc::lock_not_available) && !failure->is(deadlock_detected))
            pg::raise(*failure);
        if (waited_us >= patience.max_wait_us) {
            failure->detail = in_the_way;
            failure->hint = "Nothing was changed by this step. Call again when the way is free, or "
                            "with a longer max_wait.";
            pg::raise(*failure);
        }
        pg::report(NOTICE,
                   what + ": attempt " + std::to_string(attempt) + " did not get its locks in time",
                   in_the_way);
        const std::int64_t pause_us = base::backoff_us(attempt, pause_base_us, pause_cap_us,
                                                       static_cast<std::uint64_t>(MyProcPid) ^
                                                           static_cast<std::uint64_t>(start));
        pg::wait(std::min(pause_us, patience.max_wait_us - waited_us), pg::WaitFor::lock_retry);
    }
}

void run_ddl(pg::Session& session, const std::string& sql, const Patience& patience) {
    session.ensure_snapshot();
    const pg::Statement statement = pg::read_statement(sql, "sql");
    if (statement.is_about_rows)
        throw base::Error(errc::feature_not_supported,
                          statement.command + " is not a schema change")
            .hint("Change rows in batches with CALL orchestry.backfill(...).");
    if (statement.needs_top_level)
        throw base::Error(errc::feature_not_supported,
                          statement.command + " CONCURRENTLY cannot be run in a transaction")
            .hint("Build indexes with SELECT orchestry.build_index('CREATE INDEX ...');");
    if (statement.builds_index)
        throw base::Error(errc::feature_not_supported,
                          "CREATE INDEX would hold writers up until the index is built")
            .hint("Build indexes with SELECT orchestry.build_index('CREATE INDEX ...');");
    change_patiently(session, statement.command, patience, [&] {
        pg::Spi spi;
        spi.run(statement.sql);
    });
}

namespace {

struct Constraint {
    bool exists = false;
    bool validated = false;
};

/// Our own CHECK of a column, left by a call that was interrupted. One of that name that says
/// something else is somebody's, and not ours to drop.
Constraint find_constraint(Oid relid, const std::string& name, const std::string& column) {
    pg::Spi spi;
    if (spi.run("SELECT c.convalidated FROM pg_catalog.pg_constraint c JOIN "
                "pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.conrelid AND "
                "c.conkey OPERATOR(pg_catalog.=) ARRAY[a.attnum] WHERE c.conrelid "
                "OPERATOR(pg_catalog.=) $1 AND c.conname OPERATOR(pg_catalog.=) $2 AND c.contype "
                "OPERATOR(pg_catalog.=) 'c' AND a.attname OPERATOR(pg_catalog.=) $3 AND "
                "pg_catalog.pg_get_expr(c.conbin, c.conrelid) OPERATOR(pg_catalog.=) ANY "
                "(ARRAY[pg_catalog.format('(%I IS NOT NULL)', a.attname), "
                "pg_catalog.format('(%I IS DISTINCT FROM NULL)', a.attname)])",
                relid, name, column) == 0)
        return {};
    return {true, spi.row(0).boolean(1)};
}

/// What a table of the family says of NULLs in the column. Constraints for that are from 18 on.
struct NotNull {
    std::string table;
    bool is_set = true;     // when it is gone
    std::string constraint; ///< quoted; empty: there is none
    bool validated = true;
    bool no_inherit = false;
};

NotNull find_not_null(Oid relid, const std::string& column) {
    NotNull found;
    found.table = pg::relation_name(relid).value_or("");
    pg::Spi spi;
    if (spi.run("SELECT a.attnotnull, pg_catalog.quote_ident(c.conname), c.convalidated, "
                "c.connoinherit FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_constraint "
                "c ON c.conrelid OPERATOR(pg_catalog.=) a.attrelid AND c.conkey "
                "OPERATOR(pg_catalog.=) ARRAY[a.attnum] AND c.contype OPERATOR(pg_catalog.=) 'n' "
                "WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attname OPERATOR(pg_catalog.=) "
                "$2 AND NOT a.attisdropped",
                relid, column) == 0)
        return found;
    const pg::Row row = spi.row(0);
    found.is_set = row.boolean(1);
    if (row.is_null(2))
        return found;
    found.constraint = row.text(2);
    found.validated = row.boolean(3);
    found.no_inherit = row.boolean(4);
    return found;
}

/// The table and its partitions, each to be locked.
std::vector<pg::LockRequest> whole_family(Oid relid, LOCKMODE mode) {
    std::vector<pg::LockRequest> requests;
    for (const Oid member : pg::family_of(relid))
        requests.push_back({member, mode});
    return requests;
}

} // namespace

bool set_not_null(pg::Session& session, Oid relid, const std::string& column,
                  const Patience& patience) {
    session.ensure_snapshot();
    catalog::require_owner_of(relid);
    const char kind = pg::call<get_rel_relkind>(relid);
    const std::string table = pg::require_relation_name(relid);
    if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
        throw base::Error(errc::wrong_object_type, table + " is not a table");
    (void)catalog::require_column(catalog::columns_of(relid), relid, column);
    const std::vector<Oid> family = pg::family_of(relid);
    bool is_not_null = true; // everywhere: before 18, tables that inherit may differ
    std::vector<std::string> proofs;
    for (const Oid member : family) {
        const NotNull found = find_not_null(member, column);
        if (found.no_inherit && family.size() > 1)
            throw base::Error(errc::not_prerequisite_state, "constraint " + found.constraint +
                                                                " of table " + found.table +
                                                                " is NO INHERIT")
                .detail("A column that is NOT NULL in " + table +
                        " is so in all tables that inherit from it.")
                .hint("Run ALTER TABLE " + found.table + " ALTER CONSTRAINT " + found.constraint +
                      " INHERIT;");
        is_not_null = is_not_null && found.is_set;
        if (!found.validated)
            proofs.push_back("ALTER TABLE " + found.table + " VALIDATE CONSTRAINT " +
                             found.constraint);
    }
    // Found again by itself when a call was interrupted.
    const std::string name = base::fitting_name(column + "_orchestry_not_null");
    const std::string alter = "ALTER TABLE " + table + " ", quoted = pg::quote_identifier(column);
    const std::string quoted_name = pg::quote_identifier(name);
    const auto run = [&](const char* what, LOCKMODE mode,
                         const std::vector<std::string>& statements) {
        change_patiently(session, what, patience, [&] {
            // All at once within the time of one: partition by partition it would be many times
            // that.
            pg::lock_relations(whole_family(relid, mode), patience.lock_timeout_us);
            const catalog::AsOwner owner(
                relid); // the CHECK is the owner's code on the owner's rows
            pg::run_statements(statements);
        });
        session.ensure_snapshot();
    };
    const Constraint constraint = find_constraint(relid, name, column);
    bool has_ours = constraint.exists;
    const std::string drop = alter + "DROP CONSTRAINT " + quoted_name;
    const auto drop_ours = [&] {
        if (has_ours)
            run("DROP CONSTRAINT", AccessExclusiveLock, {drop});
    };
    // The next call goes on with our CHECK after a cancel, or when the way is free. What else fails
    // does so again, and nobody asked for a table that refuses NULLs and has some.
    const auto run_or_give_up = [&](const char* what, LOCKMODE mode,
                                    const std::vector<std::string>& statements) {
        std::optional<pg::Failure> failure;
        try {
            run(what, mode, statements);
        } catch (...) {
            failure = pg::describe_current_exception();
        }
        if (!failure)
            return;
        if (failure->is(errc::lock_not_available) || failure->is(deadlock_detected) ||
            failure->is(errc::query_canceled))
            pg::raise(*failure);
        drop_ours();
        if (!failure->is(check_violation) && !failure->is(errc::not_null_violation))
            pg::raise(*failure);
        throw base::Error(errc::not_null_violation,
                          "column " + quoted + " of table " + table + " contains NULLs")
            .detail("Nothing was changed.")
            .hint("Fill them first, for example CALL orchestry.backfill(" +
                  pg::quote_literal(table) + ", " + pg::quote_literal(quoted + " = ...") + ", " +
                  pg::quote_literal(quoted + " IS NULL") + ");");
    };
    if (is_not_null) { // by somebody else meanwhile, if ours is there yet
        if (!proofs.empty())
            run_or_give_up("VALIDATE CONSTRAINT", ShareUpdateExclusiveLock, proofs);
        drop_ours();
        return !proofs.empty();
    }
    if (!has_ours) // IS NOT NULL would ask for each field of a composite type
        run("ADD CONSTRAINT", AccessExclusiveLock,
            {alter + "ADD CONSTRAINT " + quoted_name + " CHECK (" + quoted +
             " IS DISTINCT FROM NULL) NOT VALID"});
    has_ours = true;
    if (!constraint.validated)
        run_or_give_up("VALIDATE CONSTRAINT", ShareUpdateExclusiveLock,
                       {alter + "VALIDATE CONSTRAINT " + quoted_name});
    if (!proofs.empty()) // SET NOT NULL would leave those of partitions as they are
        run_or_give_up("VALIDATE CONSTRAINT", ShareUpdateExclusiveLock, proofs);
    // Two statements: one alone would drop the CHECK first, and read the table under its strongest
    // lock to prove what the CHECK would have proved.
    run_or_give_up("SET NOT NULL", AccessExclusiveLock,
                   {alter + "ALTER COLUMN " + quoted + " SET NOT NULL", drop});
    return true;
}

} // namespace orchestry::migrate
