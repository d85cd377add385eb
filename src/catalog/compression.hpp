// What other capabilities have to know of event compression: what it still has to read stays.
#pragma once

#include "catalog/job.hpp"

namespace orchestry::catalog {

/// The event compression policy that takes the rows of a table.
struct Compression {
    JobId job;
    std::string time_column; ///< unquoted
};
/// A table, and all that it is a partition of or inherits from, at any distance.
std::vector<Oid> lineage_of(Oid relid);
/// A policy of one of some tables; nullopt when there is none.
std::optional<Compression> compression_among(const std::vector<Oid>& relids);
/// The policy of a table, or of one that it is a partition of or inherits from; nullopt when there
/// is none.
std::optional<Compression> compression_of(Oid relid);

/// Whether there is a policy of the table, of what it is a part of or of a part of it.
bool is_compressed(Oid relid);
/// Whether a table has rows that a policy of it, of what it is a part of or of a part of it has yet
/// to compress. To be asked with the rights of the table's owner, and under a lock that keeps rows
/// from coming to it and to its parts where the answer has to last.
bool awaits_compression(Oid relid);

} // namespace orchestry::catalog
