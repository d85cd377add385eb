#include "pg/progress.hpp"

#include "pg/compat.hpp"

namespace orchestry::pg {

namespace {

/// The first number that the server does not use itself (15 to 18). It is also the last that C++
/// lets this enum hold.
constexpr auto command = static_cast<ProgressCommandType>(PROGRESS_COMMAND_COPY + 1);
constexpr int fields = 7;

} // namespace

void publish_progress(Oid relid, const Progress& p) {
    protect([&] {
        const int index[fields] = {0, 1, 2, 3, 4, 5, 6};
        const int64 value[fields] = {p.run_id,     p.job_id,      static_cast<int64>(p.phase),
                                     p.steps_done, p.steps_total, p.rows_done,
                                     p.rows_total};
        if (!MyBEEntry || MyBEEntry->st_progress_command != command ||
            MyBEEntry->st_progress_command_target != relid)
            pgstat_progress_start_command(command, relid);
        pgstat_progress_update_multi_param(fields, index, value);
    });
}

void clear_progress() noexcept {
    if (MyBEEntry && MyBEEntry->st_progress_command == command)
        pgstat_progress_end_command();
}

std::vector<ProgressRow> read_progress() {
    std::vector<ProgressRow> rows;
    const int backends = call<pgstat_fetch_stat_numbackends>();
    for (int i = 1; i <= backends; ++i) {
        const LocalPgBackendStatus* const local = call<compat::backend_entry>(i);
        if (!local)
            continue;
        const PgBackendStatus& entry = local->backendStatus;
        if (entry.st_progress_command != command || entry.st_databaseid != MyDatabaseId)
            continue;
        const int64* const value = entry.st_progress_param;
        rows.push_back({entry.st_procpid,
                        entry.st_progress_command_target,
                        entry.st_userid,
                        {value[0], value[1], static_cast<Progress::Phase>(value[2]), value[3],
                         value[4], value[5], value[6]}});
    }
    return rows;
}

} // namespace orchestry::pg
