// The names of files that rows are archived to.
#pragma once

#include <cstdint>
#include <string>

namespace orchestry::retention {

/// The name, without a directory, of a file with rows of a table. Names of one table sort by the
/// time of their first row. It has at most 242 bytes, so that what is made of it is a name for any
/// file system; the rest of a longer table's name is left out. `table`: as a user knows it; `least`, `greatest`: the values of its
/// time column or key, as PostgreSQL writes them in UTC and ISO, empty when there are no rows; `id`
/// makes the name one of a kind.
std::string archive_file_name(const std::string& table, const std::string& least,
                              const std::string& greatest, std::int64_t id);

} // namespace orchestry::retention
