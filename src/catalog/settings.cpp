#include "catalog/settings.hpp"

#include "base/partition_key.hpp"
#include "pg/compat.hpp"
#include "pg/error.hpp"

namespace orchestry::catalog::settings {

bool enabled = true;
char* databases = nullptr;
int max_workers = 4;
int naptime_s = 10;
int lock_timeout_ms = 200;
int lock_attempts = 10;
int history_keep_s = 30 * 24 * 3600;
int history_keep_runs = 1000;
int log_min_messages = WARNING;
int max_replication_lag_mb = 1024;
int aggregate_mem_kb = 256 * 1024;
int refresh_mem_kb = 256 * 1024;

namespace {

int batch_target_ms = 100;
char* now_text = nullptr;
std::int64_t now_us = 0; // 0: the real clock

const config_enum_entry log_levels[] = {{"debug1", DEBUG1, false}, {"info", INFO, false},
                                        {"notice", NOTICE, false}, {"warning", WARNING, false},
                                        {"error", ERROR, false},   {"log", LOG, false},
                                        {nullptr, 0, false}};

/// Puts the time in the place of what was typed, with a numeric offset and in the order of ISO
/// 8601: parallel workers read it before they know the session's DateStyle and names of zones, and
/// 15 crashes when it looks for one of those. Returns whether there was memory.
bool write_now(char** text, std::int64_t us) {
    const std::string written = base::instant_text(base::Instant{us});
    auto* const copy = static_cast<char*>(pg::compat::guc_malloc_quiet(written.size() + 1));
    if (!copy)
        return false;
    std::memcpy(copy, written.c_str(), written.size() + 1);
    pg::compat::guc_free_quiet(*text);
    *text = copy;
    return true;
}

/// Reads orchestry.now. Runs outside transactions too, so it may not raise.
bool check_now(char** text, void** extra, GucSource) noexcept {
    auto* const parsed =
        static_cast<std::int64_t*>(pg::compat::guc_malloc_quiet(sizeof(std::int64_t)));
    if (!parsed)
        return false;
    *parsed = 0;
    *extra = parsed;
    if (!*text || !**text)
        return true;
    try {
        *parsed = DatumGetTimestampTz(pg::protect([&] {
            return DirectFunctionCall3(timestamptz_in, CStringGetDatum(*text),
                                       ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
        }));
        return base::in_range(base::Instant{*parsed}) && write_now(text, *parsed);
    } catch (...) {
        return false;
    }
}

void assign_now(const char*, void* extra) noexcept {
    now_us = extra ? *static_cast<std::int64_t*>(extra) : 0;
}

} // namespace

std::int64_t batch_target_us() { return std::int64_t{batch_target_ms} * 1000; }

base::Instant now() {
    return base::Instant{now_us != 0 ? now_us : GetCurrentTransactionStartTimestamp()};
}

base::Instant clock() { return base::Instant{now_us != 0 ? now_us : GetCurrentTimestamp()}; }

void define() {
    pg::protect([] {
        DefineCustomBoolVariable(
            "orchestry.enabled", "Whether jobs are run at all.",
            "Off stops the scheduler, run() and run_due() from starting anything.", &enabled, true,
            PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
        DefineCustomStringVariable(
            "orchestry.databases", "Databases in which the launcher starts a scheduler.",
            "'*' for all that have the extension, or a comma separated list.", &databases, "*",
            PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
        DefineCustomIntVariable("orchestry.max_workers",
                                "How many workers may run jobs at once in one database.", nullptr,
                                &max_workers, 4, 1, 64, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
        DefineCustomIntVariable(
            "orchestry.naptime",
            "How long the scheduler sleeps at most before it looks for due jobs.", nullptr,
            &naptime_s, 10, 1, 3600, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
        DefineCustomIntVariable(
            "orchestry.lock_timeout", "How long a step waits for all of its strong locks together.",
            "After that it steps aside, so that nobody queues behind it, and tries again.",
            &lock_timeout_ms, 200, 1, 60'000, PGC_USERSET, GUC_UNIT_MS, nullptr, nullptr, nullptr);
        DefineCustomIntVariable("orchestry.lock_attempts",
                                "How often a step tries to get its locks before the run fails.",
                                nullptr, &lock_attempts, 10, 1, 1000, PGC_USERSET, 0, nullptr,
                                nullptr, nullptr);
        DefineCustomIntVariable(
            "orchestry.batch_target_time", "How long one batch of a step should take.",
            "Batches of rows grow and shrink to come near it. Each is a transaction.",
            &batch_target_ms, 100, 1, 60'000, PGC_USERSET, GUC_UNIT_MS, nullptr, nullptr, nullptr);
        DefineCustomIntVariable(
            "orchestry.max_replication_lag",
            "How far a streaming replica may be behind before batches wait for it.",
            "Measured in WAL that it has not replayed. -1 waits for none.", &max_replication_lag_mb,
            1024, -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB, nullptr, nullptr, nullptr);
        DefineCustomIntVariable("orchestry.history_keep", "How long finished runs are remembered.",
                                nullptr, &history_keep_s, 30 * 24 * 3600, 60, INT_MAX, PGC_SIGHUP,
                                GUC_UNIT_S, nullptr, nullptr, nullptr);
        DefineCustomIntVariable("orchestry.history_keep_runs",
                                "How many finished runs of one job are remembered at most.",
                                nullptr, &history_keep_runs, 1000, 1, INT_MAX, PGC_SIGHUP, 0,
                                nullptr, nullptr, nullptr);
        DefineCustomEnumVariable("orchestry.log_min_messages",
                                 "Which messages of launcher, scheduler and workers are logged.",
                                 nullptr, &log_min_messages, WARNING, log_levels, PGC_SUSET, 0,
                                 nullptr, nullptr, nullptr);
        DefineCustomIntVariable(
            "orchestry.aggregate_mem",
            "How much memory the exact aggregates of one plan node may use for their values.",
            "Groups that need more go on in temporary files.", &aggregate_mem_kb, 256 * 1024, 64,
            MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB, nullptr, nullptr, nullptr);
        DefineCustomIntVariable(
            "orchestry.refresh_mem",
            "How much memory a batch of a rollup's refresh should need for its values.",
            "Batches have as many rows of the source as go with it.", &refresh_mem_kb, 256 * 1024,
            64, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB, nullptr, nullptr, nullptr);
        DefineCustomStringVariable(
            "orchestry.now", "Sets the clock of plans and schedules, for tests.",
            "A timestamp with time zone; empty for the real clock.", &now_text, "", PGC_SUSET,
            GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, check_now, assign_now, nullptr);
        MarkGUCPrefixReserved("orchestry");
    });
}

} // namespace orchestry::catalog::settings
