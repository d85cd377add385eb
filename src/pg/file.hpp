// Files of the server's machine that hold rows: written through the server's COPY, and made
// durable, read back and given their names here. Paths are absolute.
#pragma once

#include "pg/scope.hpp"

#include <string>
#include <vector>

namespace orchestry::pg {

bool is_directory(const std::string& path);
/// Raises what the file system says when it cannot tell, of a name that is too long for one.
bool file_exists(const std::string& path);

/// Brings a file and its name to the disk. An error is an ERROR, of which 58P01 and 53100 are the
/// usual ones, and never more: of the server's own files it would be a PANIC.
void sync_file(const std::string& path);
/// Takes a file away, where there is one.
void remove_file(const std::string& path);
/// Gives a file another name in its directory, durably. Whatever had that name is gone.
void rename_durably(const std::string& from, const std::string& to);
/// Until a file is complete, write_file() adds this to its name.
inline constexpr const char* unfinished_suffix = ".partial";
/// Writes a small file durably: under its name there is never a part of it.
void write_file(const std::string& path, const std::string& text);

/// What a file is known by.
struct FileDigest {
    std::int64_t bytes = 0;
    std::string sha256; ///< 64 hexadecimal digits
    bool operator==(const FileDigest&) const = default;
};
FileDigest digest_file(const std::string& path);

/// What a set of rows is known by, in whatever order they come. Equal for equal rows, and for
/// others not but by a chance of 1 in 2^64.
struct RowsDigest {
    std::int64_t rows = 0;
    std::int64_t high = 0, low = 0; ///< sums of both halves of the hashes of all rows
    bool operator==(const RowsDigest&) const = default;
};
/// The SQL of the three numbers over a query of rows, as a list for SELECT. `columns`: those of the
/// rows, quoted and with commas between. The session's settings for dates and numbers matter.
std::string rows_digest_sql(const std::string& columns);
/// The options with which COPY writes and reads such files, as SQL.
std::string csv_options_sql();
/// The digest of the rows in a file that COPY wrote with these options, read by the server's COPY.
/// `relid`: a table with these columns, unquoted. Raises what COPY FROM raises for what it cannot
/// read.
RowsDigest digest_csv(const std::string& path, Oid relid, const std::vector<std::string>& columns);

} // namespace orchestry::pg
