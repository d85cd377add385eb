#include "catalog/job.hpp"

#include "base/arith.hpp"
#include "catalog/settings.hpp"
#include "pg/zone.hpp"

namespace orchestry::catalog {

namespace {

constexpr const char* extension_name = "orchestry_ext";

/// Shared by all jobs, so nothing in it may fail because of what one of them says: max_runtime is
/// cut to what check_max_runtime() lets pass, whoever has written the row.
constexpr const char* select_jobs_sql =
    "SELECT j.job_id, j.kind, j.target, c.relowner, j.schedule, j.time_zone, j.anchor, "
    "(EXTRACT(epoch FROM LEAST(j.max_runtime, '36500 days'::pg_catalog.interval)) "
    "OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, "
    "j.paused, "
    "j.pause_reason, NOT (j.origin_system OPERATOR(pg_catalog.=) $1 AND j.origin_database "
    "OPERATOR(pg_catalog.=) $2 AND s.job_id IS NOT NULL), s.next_run_at, COALESCE(s.failures, 0), "
    "s.last_run_id, s.last_state, "
    "s.fingerprint, s.settled_until, j.target_schema, j.target_name, n.nspname, c.relname, "
    "GREATEST(j.anchor, s.last_ok_at, s.confirmed_at), s.settled_from "
    "FROM orchestry.job j LEFT JOIN orchestry.job_state s ON s.job_id OPERATOR(pg_catalog.=) "
    "j.job_id "
    "LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
    "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace) ON c.oid OPERATOR(pg_catalog.=) j.target "
    "AND j.origin_system OPERATOR(pg_catalog.=) $1 AND j.origin_database OPERATOR(pg_catalog.=) $2 "
    "AND s.job_id IS NOT NULL ";

template <typename T, typename F>
std::optional<T> unless_null(const pg::Row& row, int column, F read) {
    if (row.is_null(column))
        return std::nullopt;
    return read(column);
}

Job read_job(const pg::Row& row) {
    Job job;
    job.id = {row.bigint(1)};
    job.kind = row.text(2);
    job.target = row.oid(3);
    job.owner = row.is_null(4) ? InvalidOid : row.oid(4);
    job.schedule = row.text(5);
    job.time_zone = row.text(6);
    job.anchor = row.instant(7);
    job.max_runtime_us = row.bigint(8);
    job.paused = row.boolean(9);
    job.pause_reason = row.text(10);
    job.restored = row.boolean(11);
    job.next_run_at = unless_null<base::Instant>(row, 12, [&](int c) { return row.instant(c); });
    job.failures = row.integer(13);
    job.last_run_id = unless_null<std::int64_t>(row, 14, [&](int c) { return row.bigint(c); });
    job.last_state = row.text(15);
    job.settlement = unless_null<Settlement>(row, 16, [&](int c) {
        return Settlement{row.bigint(c), row.instant(23), row.instant(17)};
    });
    job.trusted_at = row.instant(22);
    job.target_name = row.is_null(20) ? pg::quote_qualified(row.text(18), row.text(19))
                                      : pg::quote_qualified(row.text(20), row.text(21));
    return job;
}

} // namespace

Oid owner_of(Oid relid) {
    return pg::protect([&] {
        const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
        if (!HeapTupleIsValid(tuple))
            return InvalidOid;
        const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
        ReleaseSysCache(tuple);
        return owner;
    });
}

std::string stranger(Oid relid, Oid role) {
    const Oid owner = owner_of(relid);
    // A superuser may act for everybody, which makes nobody's code one to run as a superuser.
    const bool is_trusted = !OidIsValid(owner) || owner == role || pg::protect([&] {
        return has_privs_of_role(role, owner) && (!superuser_arg(role) || superuser_arg(owner) ||
                                                  is_member_of_role_nosuper(role, owner));
    });
    return is_trusted ? std::string() : pg::role_name(owner);
}

// A job belongs here when it was made or resumed in this very database, and has a state: states are
// not dumped, so a job without one was restored, be it into the database that it came from. Only
// then its target is trusted.
namespace {

Oid existing_owner_of(Oid relid) {
    const Oid owner = owner_of(relid);
    if (!OidIsValid(owner))
        throw base::Error("42P01",
                          "the table with OID " + std::to_string(relid) + " does not exist");
    return owner;
}

Oid find_job_table() {
    return pg::protect([] {
        const Oid schema = get_namespace_oid("orchestry", true);
        return OidIsValid(schema) ? get_relname_relid("job", schema) : InvalidOid;
    });
}

} // namespace

AsOwner::AsOwner(Oid relid) : context_(existing_owner_of(relid), pg::Restriction::restricted) {
    context_.guc().set("row_security", "off");
}

// Whoever may create schemas can make one of that name where the extension is not, and our hooks
// are there all the same: what is in it would be run with the rights of whoever drops a table.
bool has_extension() {
    return pg::protect([] { return OidIsValid(get_extension_oid(extension_name, true)); });
}

bool is_installed() { return OidIsValid(find_job_table()) && has_extension(); }

namespace {

base::Error not_installed() {
    return base::Error(base::errc::undefined_object,
                       "extension \"orchestry_ext\" is not installed in this database")
        .hint("Run CREATE EXTENSION orchestry_ext;");
}

} // namespace

Oid job_table() {
    const Oid relid = find_job_table();
    if (!OidIsValid(relid))
        throw not_installed();
    return relid;
}

std::optional<pg::SessionLock> lock_job(JobId id) {
    return pg::SessionLock::try_acquire(MyDatabaseId, job_table(),
                                        static_cast<std::uint32_t>(id.value));
}

bool lock_extension() {
    return pg::protect([] {
        const Oid extension = get_extension_oid(extension_name, true);
        if (!OidIsValid(extension))
            return false;
        LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
        return OidIsValid(
            get_extension_oid(extension_name, true)); // it may have been dropped while we waited
    });
}

namespace {

Oid owner_under_lock() {
    if (!lock_extension())
        throw not_installed();
    return owner_of(job_table());
}

} // namespace

Elevated::Elevated() : context_(owner_under_lock(), pg::Restriction::none) {}

std::int64_t system_identifier() { return static_cast<std::int64_t>(GetSystemIdentifier()); }

void require_no_newer_job(const char* kind, Oid target) {
    Elevated elevated;
    pg::Spi spi;
    if (spi.read_latest("SELECT FROM orchestry.job j WHERE j.kind OPERATOR(pg_catalog.=) $1 "
                        "AND j.target OPERATOR(pg_catalog.=) $2 "
                        "AND j.origin_system OPERATOR(pg_catalog.=) $3 "
                        "AND j.origin_database OPERATOR(pg_catalog.=) $4",
                        kind, target, system_identifier(), MyDatabaseId) == 0)
        return;
    throw base::Error(base::errc::serialization_failure,
                      "could not serialize access due to a concurrent policy for " +
                          pg::relation_name(target).value_or("the table"))
        .detail("It was committed after this transaction had begun to read.")
        .hint("Run the transaction again.");
}

void check_max_runtime(const base::Span& max_runtime) {
    // In floating point no sum overflows. Months have 30 days, as where the server compares.
    const double days = 30.0 * static_cast<double>(max_runtime.months) +
                        static_cast<double>(max_runtime.days) +
                        static_cast<double>(max_runtime.us) / base::us_per_day;
    if (days <= 0)
        throw base::Error(base::errc::invalid_parameter, "max_runtime must be positive");
    if (days > 36'500)
        throw base::Error(base::errc::invalid_parameter, "max_runtime must be at most 100 years")
            .hint("Use an interval such as '1 hour' or '1 day'.");
}

JobId insert_job(const NewJob& job, base::Instant now, base::Instant next_run) {
    check_max_runtime(job.max_runtime);
    Elevated elevated;
    pg::Spi spi;
    spi.run(
        "INSERT INTO orchestry.job (kind, target, target_schema, target_name, schedule, time_zone, "
        "anchor, origin_system, origin_database, max_runtime) SELECT $1, c.oid, n.nspname, "
        "c.relname, NULLIF($3, ''), $4, $5, $6, $7, $8 "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE c.oid OPERATOR(pg_catalog.=) $2 "
        "RETURNING job_id",
        job.kind, job.target, job.schedule, job.time_zone, now, system_identifier(), MyDatabaseId,
        job.max_runtime);
    if (spi.rows() != 1)
        throw base::Error(base::errc::undefined_object,
                          "the table of the new job does not exist any more");
    const JobId id{spi.row(0).bigint(1)};
    spi.run("INSERT INTO orchestry.job_state (job_id, next_run_at) VALUES ($1, $2)", id.value,
            next_run);
    return id;
}

void set_paused(JobId id, bool paused, const std::optional<std::string>& reason) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.job SET paused = $2, pause_reason = $3 WHERE job_id "
            "OPERATOR(pg_catalog.=) $1",
            id.value, paused, reason);
}

std::string describe_jobs(const std::vector<JobId>& ids) {
    std::string text;
    for (const JobId id : ids)
        if (const auto job = find_job(id))
            text += (text.empty() ? "job " : ", job ") + std::to_string(id.value) + " (" +
                    job->kind + ")";
    return text;
}

void remove_job(JobId id) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("DELETE FROM orchestry.job WHERE job_id OPERATOR(pg_catalog.=) $1", id.value);
}

std::vector<Job> select_jobs_where(const std::string& condition, const pg::Param& value) {
    Elevated elevated;
    pg::Spi spi;
    spi.run_kept(std::string(select_jobs_sql) + "WHERE " + condition, system_identifier(),
                 MyDatabaseId, value);
    std::vector<Job> jobs;
    jobs.reserve(spi.rows());
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        jobs.push_back(read_job(spi.row(i)));
    return jobs;
}

std::optional<Job> find_job(JobId id) {
    std::vector<Job> jobs =
        select_jobs_where("j.job_id OPERATOR(pg_catalog.=) $3", pg::param(id.value));
    if (jobs.empty())
        return std::nullopt;
    return std::move(jobs.front());
}

Job get_job(JobId id) {
    std::optional<Job> job = find_job(id);
    if (!job)
        throw base::Error(base::errc::undefined_object,
                          "job " + std::to_string(id.value) + " does not exist")
            .hint("See SELECT job_id, kind, target FROM orchestry.jobs;");
    return *std::move(job);
}

std::vector<Job> jobs_of(Oid target) {
    return select_jobs_where(
        "c.oid IS NOT NULL AND ($3 OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR "
        "j.target OPERATOR(pg_catalog.=) $3) ORDER BY j.job_id",
        pg::param(target));
}

bool may_act_for(Oid owner) {
    return pg::protect([&] { return OidIsValid(owner) && has_privs_of_role(GetUserId(), owner); });
}

void require_owner_of(Oid relid) {
    const Oid owner = owner_of(relid);
    if (may_act_for(owner))
        return;
    if (!OidIsValid(owner))
        throw base::Error("42P01",
                          "relation with OID " + std::to_string(relid) + " does not exist");
    const std::string name = pg::relation_name(relid).value_or(std::to_string(relid));
    throw base::Error(base::errc::insufficient_privilege, "must be owner of table " + name)
        .detail("Jobs run as the owner of their table.")
        .hint("Run SET ROLE to the owner first, or ask the owner to do this.");
}

void require_owner(const Job& job) {
    if (may_act_for(job.owner) || (!OidIsValid(job.owner) && superuser()))
        return;
    throw base::Error(base::errc::insufficient_privilege,
                      "must be owner of table " + job.target_name)
        .detail("Jobs run as the owner of their table.")
        .hint("Run SET ROLE to the owner first, or ask the owner to do this.");
}

namespace {

/// A fingerprint is of the partitions alone, not of their rows: what rows ask for (statistics that
/// are out of date, say) is looked at that often.
constexpr std::int64_t longest_settlement_us = base::us_per_day;

} // namespace

void settle(const Job& job, std::int64_t fingerprint, base::Instant now,
            std::optional<base::Instant> until) {
    if (!until || *until <= now) {
        if (job.settlement)
            unsettle(job.id);
        return;
    }
    const bool is_far = base::saturating_subtract(until->us, now.us) > longest_settlement_us;
    Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.job_state SET fingerprint = $2, settled_from = $3, "
            "settled_until = $4 WHERE job_id OPERATOR(pg_catalog.=) $1",
            job.id.value, fingerprint, now,
            is_far ? base::plus(now, longest_settlement_us) : *until);
}

void unsettle(JobId id) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.job_state SET fingerprint = NULL, settled_from = NULL, "
            "settled_until = NULL WHERE job_id OPERATOR(pg_catalog.=) $1",
            id.value);
}

void confirm(JobId id, base::Instant now) {
    Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.job_state (job_id, confirmed_at) SELECT j.job_id, $2 "
            "FROM orchestry.job j WHERE j.job_id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE "
            "ON CONFLICT (job_id) DO UPDATE SET confirmed_at = EXCLUDED.confirmed_at",
            id.value, now);
}

base::Schedule parse_schedule(const std::string& text) {
    if (base::looks_like_cron(text))
        return base::make_schedule(std::string_view(text));
    const Interval* const interval = DatumGetIntervalP(pg::protect([&] {
        return DirectFunctionCall3(interval_in, CStringGetDatum(text.c_str()),
                                   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
    }));
    return base::make_schedule(base::Span{interval->month, interval->day, interval->time});
}

base::Instant next_slot(const Job& job, base::Instant now) {
    return base::next_run(parse_schedule(job.schedule), pg::ServerZone(job.time_zone), job.anchor,
                          now);
}

} // namespace orchestry::catalog
