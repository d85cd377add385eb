// Typed access to orchestry.archive_file: the files that rows were archived to, as their manifests.
//
// A file is written under a passing name, and recorded in the transaction in which it was verified
// and in which its rows go, if they go then. Only what is recorded gets its name: a file that has
// one is complete, and what it has is nowhere else but in quarantine.
#pragma once

#include "catalog/job.hpp"
#include "pg/file.hpp"

namespace orchestry::catalog {

struct ArchiveFile {
    std::int64_t id = 0;
    JobId job;
    std::string path;
    Oid part = InvalidOid; ///< the table in quarantine that has its rows as well; InvalidOid: none
    std::string part_name; ///< the table that has or had its rows, qualified and quoted
    std::string columns;   ///< in their order, quoted and with commas between
    std::string least, greatest; ///< of the time column or the key, as text; empty: it has no rows
    pg::RowsDigest rows;
    pg::FileDigest content;
    bool is_published = false; ///< it has its name
};

/// An id for a file to be written.
std::int64_t next_archive_id();
/// Records a file that is not published yet. `table`: of the policy.
void insert_archive_file(const ArchiveFile& file, Oid table);
/// Records that a file has its name.
void set_published(std::int64_t id);
/// Records that the table that has rows of a file goes.
void forget_part(Oid part);
/// Forgets a file.
void delete_archive_file(std::int64_t id);

/// The file of a job that has no name yet; nullopt when all have. There is one at most.
std::optional<ArchiveFile> unpublished_file(JobId job);
/// The files of a table that have no name yet and belong to no job any more, the oldest first.
std::vector<ArchiveFile> files_left_by_jobs(Oid table);
/// The file that has the rows of a table in quarantine; nullopt: there is none. `job`: that wrote
/// it; nullopt: any.
std::optional<ArchiveFile> file_of(std::optional<JobId> job, Oid part);
/// The manifest of a file as JSON text.
std::string manifest_of(std::int64_t id);

} // namespace orchestry::catalog
