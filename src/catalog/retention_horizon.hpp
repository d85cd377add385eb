// What other capabilities have to know of retention: they do not make again what it has taken.
#pragma once

#include "base/partition_key.hpp"
#include "catalog/job.hpp"

namespace orchestry::catalog {

/// Which policies take whole partitions.
enum class Leaving {
    removed, ///< those that detach or drop them
    moved,   ///< as well those that move them, into an archive partitioned alike without DEFAULT
};

/// The position before which a retention policy takes whole partitions of a table; nullopt when
/// there is no such policy. `position`: how far integer keys have come, where that is known.
std::optional<std::int64_t> retention_horizon(Oid parent, base::KeyKind kind,
                                              std::optional<std::int64_t> position,
                                              base::Instant now, Leaving leaving);

/// Whether a run of a retention policy of a table is at work.
bool retention_is_running(Oid parent);

/// Whether a retention policy takes single rows of a table, or of a part of it.
bool removes_rows(Oid relid);

} // namespace orchestry::catalog
