#include "catalog/archive_file.hpp"

#include <algorithm>

namespace orchestry::catalog {

std::int64_t next_archive_id() {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT pg_catalog.nextval('orchestry.archive_file_archive_id_seq'::"
            "pg_catalog.regclass)");
    return spi.row(0).bigint(1);
}

void insert_archive_file(const ArchiveFile& file, Oid table) {
    const auto text_or_null = [](const std::string& text) {
        return text.empty() ? pg::null_param(TEXTOID) : pg::param(text);
    };
    const Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.archive_file (archive_id, job_id, file, schema_name, "
            "table_name, owner, part, part_name, columns, least, greatest, rows, hash_high, "
            "hash_low, bytes, sha256, written_at, origin_system, origin_database) "
            "SELECT $1, $2, $3, n.nspname, c.relname, "
            "pg_catalog.pg_get_userbyid(c.relowner), $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
            "pg_catalog.clock_timestamp(), $15, $16 FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
            "WHERE c.oid OPERATOR(pg_catalog.=) $4",
            file.id, file.job.value, file.path, table, file.part, file.part_name, file.columns,
            text_or_null(file.least), text_or_null(file.greatest), file.rows.rows, file.rows.high,
            file.rows.low, file.content.bytes, file.content.sha256, system_identifier(),
            MyDatabaseId);
}

void set_published(std::int64_t id) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.archive_file SET published_at = pg_catalog.clock_timestamp() "
            "WHERE archive_id OPERATOR(pg_catalog.=) $1",
            id);
}

void forget_part(Oid part) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.archive_file SET part = 0 WHERE part OPERATOR(pg_catalog.=) $1 "
            "AND origin_system OPERATOR(pg_catalog.=) $2 AND origin_database "
            "OPERATOR(pg_catalog.=) $3",
            part, system_identifier(), MyDatabaseId);
}

void delete_archive_file(std::int64_t id) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("DELETE FROM orchestry.archive_file WHERE archive_id OPERATOR(pg_catalog.=) $1", id);
}

namespace {

/// The newest first.
std::vector<ArchiveFile> select_where(const char* condition, std::optional<JobId> job,
                                      const pg::Param& value, const std::string& name) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run_kept(
        std::string("SELECT f.archive_id, f.file, f.part, f.part_name, f.columns, "
                    "COALESCE(f.least, ''), COALESCE(f.greatest, ''), f.rows, f.hash_high, "
                    "f.hash_low, f.bytes, f.sha256, f.published_at IS NOT NULL, f.job_id "
                    "FROM orchestry.archive_file f WHERE ($1 IS NULL OR f.job_id "
                    "OPERATOR(pg_catalog.=) $1) "
                    "AND f.origin_system OPERATOR(pg_catalog.=) $4 AND f.origin_database "
                    "OPERATOR(pg_catalog.=) $5 AND ") +
            condition + " ORDER BY f.archive_id DESC",
        job ? pg::param(job->value) : pg::null_param(INT8OID), value, name, system_identifier(),
        MyDatabaseId);
    std::vector<ArchiveFile> files;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        ArchiveFile& file = files.emplace_back();
        file.id = row.bigint(1);
        file.job = {row.bigint(14)};
        file.path = row.text(2);
        file.part = row.oid(3);
        file.part_name = row.text(4);
        file.columns = row.text(5);
        file.least = row.text(6);
        file.greatest = row.text(7);
        file.rows = {row.bigint(8), row.bigint(9), row.bigint(10)};
        file.content = {row.bigint(11), row.text(12)};
        file.is_published = row.boolean(13);
    }
    return files;
}

std::optional<ArchiveFile> newest(std::vector<ArchiveFile> files) {
    return files.empty() ? std::nullopt : std::optional(std::move(files.front()));
}

} // namespace

std::optional<ArchiveFile> unpublished_file(JobId job) {
    return newest(
        select_where("f.published_at IS NULL AND $2 AND $3 IS NOT NULL", job, pg::param(true), {}));
}

std::vector<ArchiveFile> files_left_by_jobs(Oid table) {
    std::vector<ArchiveFile> files = select_where(
        "f.published_at IS NULL AND $3 IS NOT NULL AND NOT EXISTS (SELECT FROM orchestry.job j "
        "WHERE j.job_id OPERATOR(pg_catalog.=) f.job_id) AND (f.schema_name, f.table_name, "
        "f.owner) "
        "OPERATOR(pg_catalog.=) (SELECT n.nspname, c.relname, "
        "pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c JOIN "
        "pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE c.oid "
        "OPERATOR(pg_catalog.=) $2)",
        std::nullopt, pg::param(table), {});
    std::reverse(files.begin(), files.end());
    return files;
}

std::optional<ArchiveFile> file_of(std::optional<JobId> job, Oid part) {
    return newest(
        select_where("f.part OPERATOR(pg_catalog.=) $2 AND f.part_name OPERATOR(pg_catalog.=) $3",
                     job, pg::param(part), pg::relation_name(part).value_or("")));
}

std::string manifest_of(std::int64_t id) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT pg_catalog.jsonb_pretty(pg_catalog.jsonb_build_object("
            "'file', pg_catalog.regexp_replace(f.file, '^.*/', ''), 'job_id', f.job_id, "
            "'table', pg_catalog.format('%I.%I', f.schema_name, f.table_name), "
            "'part', f.part_name, 'columns', f.columns, 'least', f.least, "
            "'greatest', f.greatest, 'rows', f.rows, 'bytes', f.bytes, 'sha256', f.sha256, "
            "'written_at', f.written_at, 'database', pg_catalog.current_database(), "
            "'system', f.origin_system)) OPERATOR(pg_catalog.||) E'\\n' "
            "FROM orchestry.archive_file f WHERE f.archive_id OPERATOR(pg_catalog.=) $1",
            id);
    return spi.row(0).text(1);
}

} // namespace orchestry::catalog
