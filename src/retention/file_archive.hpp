// Files that rows are archived to: CSV that the server's COPY writes, and beside each one a
// manifest. A file is written, brought to the disk, read back and compared with the rows before one
// of them goes.
#pragma once

#include "catalog/archive_file.hpp"

namespace orchestry::retention {

/// The directory of an archive that is one, "file:/directory"; nullopt: it is a table.
std::optional<std::string> archive_directory(const std::string& archive_to);
/// The archive as it is stored. Raises 22023 for a directory that is not absolute.
std::string checked_file_archive(const std::string& archive_to);

/// Raises 42501 unless a role may write files on the server, 58P01 unless the directory is there.
void require_directory(Oid role, const std::string& directory);

/// The settings under which values are written to files and compared with them, for a scope.
class FileSettings {
  public:
    FileSettings();

  private:
    pg::GucLevel guc_;
};

/// Rows that go into one file.
struct FileSource {
    catalog::JobId job;
    std::string directory;
    Oid table = InvalidOid; ///< the policy's
    Oid part = InvalidOid;  ///< the table that has the rows
    bool is_copy = false;   ///< the rows stay in that table
    std::string title;      ///< what the file is named after: the table as users know it
    std::string from;       ///< FROM ... WHERE ... of the rows, SQL
    std::string time;       ///< the time column or the key, as an expression of SQL
    bool is_uuid = false;   ///< the type of that
};
/// Writes the rows into a file, verifies it and records it. The rows must not change meanwhile: the
/// caller has locked them. As the current user. Raises 42501 and 58P01 as require_directory() does,
/// 58P02 when a file of that name is there, XX001 when the file is not what was written, and what
/// COPY raises.
catalog::ArchiveFile write_archive_file(const FileSource& source);

/// The columns of a table as a file has them, quoted and with commas between: what is generated is
/// not among them.
std::string file_columns(Oid relid);

/// "12 rows in /srv/archive/..."
std::string describe(const catalog::ArchiveFile& file);

/// Whether the table whose rows are in a file has these rows still, these columns, and no others.
bool is_what_was_archived(const catalog::ArchiveFile& file);

/// Gives the file of a job that has none yet its name, and writes its manifest; not recorded before
/// the transaction ends, and right when it is done again. Returns its path; empty: there is no such
/// file. Raises 58P01 when the file is gone.
std::string publish_archive_file(catalog::JobId job);

/// The files of a table that are there but have no name yet, because the policy that wrote them was
/// removed when they could not get it.
std::vector<catalog::ArchiveFile> left_files(Oid table);
/// Gives one of these its name, likewise.
std::string publish_archive_file(const catalog::ArchiveFile& file);

/// Takes away a file with its manifest, and forgets it.
void remove_archive_file(const catalog::ArchiveFile& file);

} // namespace orchestry::retention
