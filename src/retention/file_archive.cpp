#include "retention/file_archive.hpp"

#include "pg/fault.hpp"
#include "retention/file_plan.hpp"

namespace orchestry::retention {

using base::Error;
using catalog::ArchiveFile;
namespace errc = base::errc;

namespace {

constexpr const char* undefined_file = "58P01";
constexpr const char* duplicate_file = "58P02";
constexpr std::string_view scheme = "file:";

std::string name_of(Oid relid) { return pg::relation_name(relid).value_or(""); }

/// The columns that COPY takes, unquoted.
std::vector<std::string> column_names(Oid relid) {
    pg::Spi spi;
    spi.run("SELECT COALESCE(pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum), "
            "'{}') FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) $1 "
            "AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped "
            "AND a.attgenerated OPERATOR(pg_catalog.=) ''",
            relid);
    return spi.row(0).text_array(1);
}

std::string listed(const std::vector<std::string>& names) {
    std::string list;
    for (const std::string& name : names)
        list += (list.empty() ? "" : ", ") + pg::quote_identifier(name);
    return list;
}

/// Where a job writes. A file that a run left there is of no use to anybody, and the next one
/// replaces it.
std::string passing_path(const std::string& directory, catalog::JobId job) {
    return directory + "/orchestry_" +
           std::to_string(static_cast<std::uint64_t>(catalog::system_identifier())) + "_" +
           std::to_string(MyDatabaseId) + "_" + std::to_string(job.value) + ".partial";
}

std::string directory_of(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string manifest_path(const std::string& path) { return path + ".json"; }

/// Raises as well what the file system says of a name that it cannot have: before rows go, not when
/// the file is to get it.
void require_no_file(const std::string& path) {
    (void)pg::file_exists(manifest_path(path) + pg::unfinished_suffix);
    if (pg::file_exists(path))
        throw Error(duplicate_file, "file \"" + path + "\" is there already")
            .detail("It was not written by this job.")
            .hint("Move it away, or give the policy another directory.");
}

/// What becomes of a file is durable at once. If what is recorded of it were not, rows that have
/// gone into it could come back after a crash, or its passing name be another's by then.
void require_durable_commit() { pg::call<ForceSyncCommit>(); }

} // namespace

std::optional<std::string> archive_directory(const std::string& archive_to) {
    if (!archive_to.starts_with(scheme))
        return std::nullopt;
    return archive_to.substr(scheme.size());
}

std::string checked_file_archive(const std::string& archive_to) {
    std::string directory = archive_directory(archive_to).value();
    while (directory.size() > 1 && directory.back() == '/')
        directory.pop_back();
    if (directory.empty() || directory.front() != '/')
        throw Error(errc::invalid_parameter, "the directory of \"archive_to\" must be absolute: " +
                                                 pg::quote_literal(archive_to))
            .hint("Use a directory of the server's machine, such as 'file:/srv/archive'.");
    return std::string(scheme) + directory;
}

void require_directory(Oid role, const std::string& directory) {
    if (!pg::protect([&] { return has_privs_of_role(role, ROLE_PG_WRITE_SERVER_FILES); })) {
        const std::string name = pg::role_name(role);
        throw Error(errc::insufficient_privilege,
                    "role " + name + ", which owns the table, may not write files on the server")
            .detail("It lacks the privileges of role pg_write_server_files.")
            .hint("Run GRANT pg_write_server_files TO " + name + ";");
    }
    if (!pg::is_directory(directory))
        throw Error(undefined_file, "directory \"" + directory + "\" does not exist")
            .detail("It has to be on the server's machine, and the server's user has to be allowed "
                    "to write there.")
            .hint("Make it, as the server's user.");
}

FileSettings::FileSettings() {
    guc_.set("DateStyle", "ISO, MDY");
    guc_.set("IntervalStyle", "postgres");
    guc_.set("TimeZone", "UTC");
    guc_.set("extra_float_digits", "1");
    guc_.set("bytea_output", "hex");
}

std::string file_columns(Oid relid) { return listed(column_names(relid)); }

ArchiveFile write_archive_file(const FileSource& source) {
    require_directory(GetUserId(), source.directory);
    const FileSettings settings;
    const std::vector<std::string> columns = column_names(source.part);
    ArchiveFile file;
    file.id = catalog::next_archive_id();
    file.job = source.job;
    if (source.is_copy)
        file.part = source.part;
    file.part_name = name_of(source.part);
    file.columns = listed(columns);
    const std::string extreme = source.time + (source.is_uuid ? "::pg_catalog.text" : "");
    {
        pg::Spi spi;
        spi.run("SELECT " + pg::rows_digest_sql(file.columns) + ", COALESCE(pg_catalog.min(" +
                extreme + ")::pg_catalog.text, ''), COALESCE(pg_catalog.max(" + extreme +
                ")::pg_catalog.text, '')" + source.from);
        const pg::Row row = spi.row(0);
        file.rows = {row.bigint(1), row.bigint(2), row.bigint(3)};
        file.least = row.text(4);
        file.greatest = row.text(5);
    }
    file.path = source.directory + "/" +
                archive_file_name(source.title, file.least, file.greatest, file.id);
    require_no_file(file.path);

    const std::string written = passing_path(source.directory, source.job);
    pg::run_statements({"COPY (SELECT " + file.columns + source.from + " ORDER BY " + source.time +
                        ") TO " + pg::quote_literal(written) + " " + pg::csv_options_sql()});
    ORCHESTRY_FAULT_POINT("file written");
    pg::sync_file(written);
    if (pg::digest_csv(written, source.part, columns) != file.rows)
        throw Error(errc::data_corrupted, "file \"" + written + "\" is not what was written to it")
            .detail("None of its rows is removed.")
            .hint(
                "Look at the disk, and at the types of the table's columns: each has to read back "
                "what it writes.");
    file.content = pg::digest_file(written);
    ORCHESTRY_FAULT_POINT("file verified");
    catalog::insert_archive_file(file, source.table);
    require_durable_commit();
    ORCHESTRY_FAULT_POINT("file recorded");
    return file;
}

std::string describe(const ArchiveFile& file) {
    return std::to_string(file.rows.rows) + (file.rows.rows == 1 ? " row in " : " rows in ") +
           file.path;
}

bool is_what_was_archived(const ArchiveFile& file) {
    if (file_columns(file.part) != file.columns)
        return false;
    const FileSettings settings;
    pg::Spi spi;
    spi.run("SELECT " + pg::rows_digest_sql(file.columns) + " FROM ONLY " + name_of(file.part));
    const pg::Row row = spi.row(0);
    return file.rows == pg::RowsDigest{row.bigint(1), row.bigint(2), row.bigint(3)};
}

std::string publish_archive_file(const ArchiveFile& file) {
    const std::string written = passing_path(directory_of(file.path), file.job);
    const bool has_name = !pg::file_exists(written);
    if (!has_name)
        require_no_file(file.path);
    const std::string path = has_name ? file.path : written;
    if (!pg::file_exists(path) || pg::digest_file(path) != file.content)
        throw Error(undefined_file, "file \"" + path + "\" is gone, or is another one by now")
            .detail("It had " + std::to_string(file.rows.rows) + " rows of " + file.part_name +
                    ", which are not in that table any more unless it is in quarantine.")
            .hint("Put it back; its SHA-256 is " + file.content.sha256 + ".");
    if (!has_name)
        pg::rename_durably(written, file.path);
    ORCHESTRY_FAULT_POINT("file named");
    pg::write_file(manifest_path(file.path), catalog::manifest_of(file.id));
    ORCHESTRY_FAULT_POINT("manifest written");
    catalog::set_published(file.id);
    require_durable_commit();
    ORCHESTRY_FAULT_POINT("file published");
    return file.path;
}

std::string publish_archive_file(catalog::JobId job) {
    const std::optional<ArchiveFile> file = catalog::unpublished_file(job);
    return file ? publish_archive_file(*file) : std::string();
}

std::vector<ArchiveFile> left_files(Oid table) {
    std::vector<ArchiveFile> files = catalog::files_left_by_jobs(table);
    std::erase_if(files, [](const ArchiveFile& file) {
        return !pg::file_exists(passing_path(directory_of(file.path), file.job)) &&
               !pg::file_exists(file.path);
    });
    return files;
}

void remove_archive_file(const ArchiveFile& file) {
    pg::remove_file(manifest_path(file.path));
    pg::remove_file(file.path);
    catalog::delete_archive_file(file.id);
}

} // namespace orchestry::retention
