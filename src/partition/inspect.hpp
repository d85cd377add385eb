// From the catalogs to plan.hpp's plain structs. Bounds are decoded from their stored nodes, never
// from text, which depends on the session's TimeZone and DateStyle. Nothing here takes a lock
// stronger than AccessShareLock.
#pragma once

#include "partition/plan.hpp"
#include "pg/spi.hpp"

namespace orchestry::partition {

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

/// Reads a set. `kind` must fit the key's type (Settings::kind). Partitions that vanish meanwhile
/// are left out. Raises 55000 when the table is not partitioned by one column of that kind any
/// more.
Set inspect(Oid parent, KeyKind kind);

/// Whether no partition of the table has a part of the range. Raises 55000 as inspect() does. For a
/// caller that holds a lock under which partitions cannot be attached.
bool is_free(Oid parent, KeyKind kind, const Range& range);

/// Position and, where the position does not say all, the exact text of a key value.
struct KeyValue {
    std::int64_t position = 0;
    std::string exact;
};
/// Decodes a value of the key's own type.
KeyValue decode_key(KeyKind kind, Oid type, Datum value);

/// The partition of the set that a row with this key goes to: InvalidOid when there is none.
Oid route(const Set& set, const std::optional<KeyValue>& key);

/// The least and the greatest position that a key of this type can hold.
Range key_limits(KeyKind kind, Oid type);

/// Changes whenever a partition is attached, detached or dropped: a value for each parent, in their
/// order. Cheap enough for thousands of parents.
std::vector<std::int64_t> fingerprints(const std::vector<Oid>& parents);

/// Answers a plan's questions from the catalogs and, where it must, from the default partition's
/// rows.
class ServerWorld : public World {
  public:
    explicit ServerWorld(const Set& set) : set_(set) {}

    std::optional<std::string> holder_of(const std::string& name) const override;
    std::int64_t default_pages() const override;
    bool default_has_rows(const PlannedStep& step) const override;
    std::optional<Extent> default_extent() const override;

  private:
    const Set& set_;
};

} // namespace orchestry::partition
