// Sets for people: the partitions of a set one by one, why they are as they are, and what comes
// next.
#pragma once

#include "catalog/explanation.hpp"
#include "partition/apply.hpp"

namespace orchestry::partition {

/// One partition, as the view orchestry.partitions shows it.
struct PartitionRow {
    Oid parent = InvalidOid;
    Oid partition = InvalidOid;
    bool is_default = false;
    std::optional<base::Instant> lower_at, upper_at;  ///< of keys that are times
    std::optional<std::int64_t> lower_key, upper_key; ///< of keys that are numbers
    std::string bound;                                ///< as FOR VALUES would have it, in UTC
    std::string phase;                                ///< past, open, ahead, default or detaching
    catalog::JobId job;
    bool gap_to_fill = false; ///< before it is a gap in which the policy makes partitions
};

/// The partitions of all sets that have a policy and that the current user may see: own ones, or
/// all for members of pg_monitor. Ordered by set and range.
std::vector<PartitionRow> list_partitions(base::Instant now);

/// What holds for the policy of a table and for each of its partitions. Raises 55000 when it has no
/// policy, 42501 when the caller does not own it.
std::vector<catalog::Explanation> explain(Oid parent, base::Instant now);

/// The set as lines of ASCII text, one for each partition and each gap, and a last one for the
/// runway. `without_policy`: how to read the bounds when the set has no policy, and no runway; with
/// nullopt that raises 55000. Raises 42501 unless the caller owns it or is in pg_monitor.
std::vector<std::string> timeline(Oid parent, const std::optional<Settings>& without_policy,
                                  base::Instant now);

} // namespace orchestry::partition
