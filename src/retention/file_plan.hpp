// The names of files that rows are archived to.
#pragma once

#include <cstdint>
#include <string>

namespace orchestry::retention {

/// The name, without a directory, of a file with rows of a table. Names of one table sort by the
/// time of their first row. `table`: as a user knows it; `least`, `greatest`: the values of its
/// time column or key, as PostgreSQL writes them in UTC and ISO, empty when there are no rows; `id`
/// makes the name one of a kind.
std::string archive_file_name(const std::string& table, const std::string& least,
                              const std::string& greatest, std::int64_t id);

} // namespace orchestry::retention
