#include "migrate/query.hpp"

#include "pg/statement.hpp"
#include "pg/xact.hpp"

namespace orchestry::migrate {

namespace errc = base::errc;

Datum explain_query(const std::string& sql) {
    const pg::Statement statement = pg::read_statement(sql, "sql");
    if (!statement.is_data)
        throw base::Error(errc::feature_not_supported, statement.command + " has no plan")
            .hint("Give a SELECT, INSERT, UPDATE, DELETE, MERGE or VALUES.");
    const MemoryContext caller = CurrentMemoryContext;
    pg::Spi spi;
    spi.run("EXPLAIN (FORMAT JSON) " + statement.sql);
    const std::string plan = spi.row(0).text(1);
    const char* const text = plan.c_str();
    return pg::protect([&] {
        MemoryContextSwitchTo(caller); // the result outlives the connection
        return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
    });
}

void slow_queries(double min_mean_ms, std::int32_t limit,
                  const std::function<void(const pg::Row&)>& each) {
    if (limit < 0)
        throw base::Error(errc::invalid_parameter, "\"n\" must not be negative");
    pg::Spi spi;
    if (spi.run("SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON "
                "n.oid OPERATOR(pg_catalog.=) e.extnamespace WHERE e.extname "
                "OPERATOR(pg_catalog.=) 'pg_stat_statements'") == 0)
        throw base::Error(errc::not_prerequisite_state,
                          "pg_stat_statements is not installed in this database")
            .hint("Run CREATE EXTENSION pg_stat_statements; the server needs it in "
                  "shared_preload_libraries.");
    const std::string view = pg::quote_qualified(spi.row(0).text(1), "pg_stat_statements");
    spi.run(
        "SELECT s.queryid, s.query, s.calls, s.mean_exec_time, s.total_exec_time, s.rows, "
        "s.shared_blks_hit::pg_catalog.float8 OPERATOR(pg_catalog./) NULLIF("
        "s.shared_blks_hit OPERATOR(pg_catalog.+) s.shared_blks_read, 0) FROM " +
            view +
            " s WHERE s.dbid OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d "
            "WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AND "
            "s.mean_exec_time OPERATOR(pg_catalog.>=) $1 ORDER BY s.total_exec_time DESC, "
            "s.queryid LIMIT $2",
        min_mean_ms, std::int64_t{limit});
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        each(spi.row(i));
}

} // namespace orchestry::migrate
