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

/// The name of a NOT NULL of the column that is not validated (from 18 on); empty: there is none.
std::string unproven_not_null(Oid relid, const std::string& column) {
    pg::Spi spi;
    if (spi.run("SELECT c.conname FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_attribute a "
                "ON a.attrelid OPERATOR(pg_catalog.=) c.conrelid AND c.conkey "
                "OPERATOR(pg_catalog.=) ARRAY[a.attnum] WHERE c.conrelid OPERATOR(pg_catalog.=) $1 "
                "AND c.contype OPERATOR(pg_catalog.=) 'n' AND NOT c.convalidated AND a.attname "
                "OPERATOR(pg_catalog.=) $2",
                relid, column) == 0)
        return {};
    return spi.row(0).text(1);
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
    const bool is_not_null =
        catalog::require_column(catalog::columns_of(relid), relid, column).not_null;
    const std::string unproven = unproven_not_null(relid, column);
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
    const std::string drop = alter + "DROP CONSTRAINT " + quoted_name;
    if (is_not_null && unproven.empty()) { // by somebody else meanwhile, if ours is there yet
        if (constraint.exists)
            run("DROP CONSTRAINT", AccessExclusiveLock, {drop});
        return false;
    }
    if (!unproven.empty()) {
        run("VALIDATE CONSTRAINT", ShareUpdateExclusiveLock,
            {alter + "VALIDATE CONSTRAINT " + pg::quote_identifier(unproven)});
        return true;
    }
    if (!constraint.exists) // IS NOT NULL would ask for each field of a composite type
        run("ADD CONSTRAINT", AccessExclusiveLock,
            {alter + "ADD CONSTRAINT " + quoted_name + " CHECK (" + quoted +
             " IS DISTINCT FROM NULL) NOT VALID"});
    if (!constraint.validated) {
        std::optional<pg::Failure> failure;
        try {
            run("VALIDATE CONSTRAINT", ShareUpdateExclusiveLock,
                {alter + "VALIDATE CONSTRAINT " + quoted_name});
        } catch (...) {
            failure = pg::describe_current_exception();
        }
        if (failure && failure->is(check_violation)) {
            // Nobody asked for a table that refuses NULLs and has some.
            run("DROP CONSTRAINT", AccessExclusiveLock, {drop});
            throw base::Error(errc::not_null_violation,
                              "column " + quoted + " of table " + table + " contains NULLs")
                .detail("Nothing was changed.")
                .hint("Fill them first, for example CALL orchestry.backfill(" +
                      pg::quote_literal(table) + ", " + pg::quote_literal(quoted + " = ...") +
                      ", " + pg::quote_literal(quoted + " IS NULL") + ");");
        }
        if (failure)
            pg::raise(*failure);
    }
    // Two statements: one alone would drop the CHECK first, and read the table under its strongest
    // lock to prove what the CHECK would have proved.
    run("SET NOT NULL", AccessExclusiveLock,
        {alter + "ALTER COLUMN " + quoted + " SET NOT NULL", drop});
    return true;
}

} // namespace orchestry::migrate
