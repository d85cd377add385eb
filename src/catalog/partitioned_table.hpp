// Tables partitioned by the range of one column, as the catalogs have them. Bounds are decoded from
// their stored nodes, never from text, which depends on the session's TimeZone and DateStyle.
// Nothing here takes a lock stronger than AccessShareLock.
#pragma once

#include "base/partition_key.hpp"
#include "catalog/job.hpp"

namespace orchestry::catalog {

/// The key column of a table that can have a policy.
struct KeyColumn {
    AttrNumber number = InvalidAttrNumber;
    std::string name;      ///< unquoted
    Oid type = InvalidOid; ///< of the column, or of what its domain is over
};

/// The key column of a partitioned table. Raises 42P01 when the relation is gone, 42809 when it is
/// not a permanent table partitioned by range, 0A000 when its key is not one plain column of a
/// supported type.
KeyColumn require_key_column(Oid parent);
/// Whether require_key_column() would find one. False when the relation is gone.
bool has_supported_key(Oid parent);

/// The kind of an integer key that counts time since 1970 in a unit: 's', 'ms', 'us' or 'ns';
/// nullopt for others.
std::optional<base::KeyKind> epoch_kind(std::string_view unit);

/// The least and the greatest position that a key of this type can hold.
base::Range key_limits(base::KeyKind kind, Oid type);

/// A default partition.
struct DefaultMember {
    Oid relid = InvalidOid;
    std::string quoted;     ///< qualified and quoted
    std::int64_t pages = 0; ///< as of the last VACUUM or ANALYZE
    bool has_rows = false;  ///< as of then
};

/// One table and its partitions.
struct PartitionedTable {
    Oid relid = InvalidOid;
    std::string name;   ///< bare and unquoted
    std::string quoted; ///< qualified and quoted
    Oid schema = InvalidOid;
    base::KeyKind kind = base::KeyKind::timestamptz;
    KeyColumn key;
    std::vector<base::Member> members; ///< ordered by range, the default partition apart
    std::optional<DefaultMember> fallback;
};

/// Reads a table. `kind` must fit the key's type. Partitions that vanish meanwhile are left out.
/// Raises 55000 when the table is not partitioned by one column of that kind any more.
PartitionedTable read_partitioned_table(Oid parent, base::KeyKind kind);

/// Reads one partition of a table; nullopt when it is none, or the default one. Raises 55000 as
/// read_partitioned_table() does.
std::optional<base::Member> read_partition(Oid parent, base::KeyKind kind, Oid partition);

/// Whether no partition of the table has a part of the range. Raises 55000 as
/// read_partitioned_table() does. For a caller that holds a lock under which partitions cannot be
/// attached.
bool is_free(Oid parent, base::KeyKind kind, const base::Range& range);

/// Position and, where the position does not say all, the exact text of a key value.
struct KeyValue {
    std::int64_t position = 0;
    std::string exact;
};
/// Decodes a value of the key's own type.
KeyValue decode_key(base::KeyKind kind, Oid type, Datum value);

/// How far the keys of an integer set have come: from what to what the newest key is. By the last
/// value of the sequence that feeds the column both are the same, else they are the bounds of the
/// highest partition that has a row. Never by max(), which would read the table. Nullopt: there is
/// neither.
struct Frontier {
    base::Bound lower, upper;
};
std::optional<Frontier> integer_frontier(const PartitionedTable& table);

/// The lower and the upper bound of a partition as instants, where the key is a time.
std::optional<base::TimeExtent> time_extent(Oid parent, Oid partition);

/// Changes whenever a partition is attached, detached or dropped: a value for each parent, in their
/// order. Cheap enough for thousands of parents.
std::vector<std::int64_t> fingerprints(const std::vector<Oid>& parents);

/// Those of the jobs that are known to have nothing to do at `now`: their table's partitions are as
/// they were when they were settled. One pass over the catalogs for all of them.
std::vector<JobId> settled(const std::vector<Job>& jobs, base::Instant now);

} // namespace orchestry::catalog
