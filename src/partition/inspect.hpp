// From the catalogs to plan.hpp's plain structs. Bounds are decoded from their stored nodes, never
// from text, which depends on the session's TimeZone and DateStyle. Nothing here takes a lock
// stronger than AccessShareLock.
#pragma once

#include "catalog/partitioned_table.hpp"
#include "partition/plan.hpp"

namespace orchestry::partition {

using catalog::KeyColumn;
using catalog::KeyValue;

/// Reads a set. `kind` must fit the key's type (Settings::kind). Partitions that vanish meanwhile
/// are left out. Raises 55000 when the table is not partitioned by one column of that kind any
/// more.
Set inspect(Oid parent, KeyKind kind);

/// The steps of plan() for a set as the server has it. What a retention policy of the table takes
/// is not made again.
std::vector<PlannedStep> plan_inspected(const Set& set, const Policy& policy, base::Instant now);

/// The partition of the set that a row with this key goes to: InvalidOid when there is none.
Oid route(const Set& set, const std::optional<KeyValue>& key);

/// For a scope, row security that is forced on a table's owner does not bind the owner, as it does
/// not in the server's own checks of foreign keys: what a constraint holds for is all rows.
class UnforcedRowSecurity {
  public:
    UnforcedRowSecurity() noexcept;
    ~UnforcedRowSecurity();
    UnforcedRowSecurity(const UnforcedRowSecurity&) = delete;
    UnforcedRowSecurity& operator=(const UnforcedRowSecurity&) = delete;

  private:
    Oid user_ = InvalidOid;
    int context_ = 0;
};

/// Answers a plan's questions from the catalogs and, where it must, from the default partition's
/// rows.
class ServerWorld : public World {
  public:
    explicit ServerWorld(const Set& set) : set_(set) {}

    std::optional<std::string> holder_of(const std::string& name) const override;
    std::int64_t default_pages() const override;
    bool has_foreign_table(std::uint32_t relid) const override;
    bool default_has_rows(const PlannedStep& step) const override;
    std::optional<Extent> default_extent() const override;

  private:
    const Set& set_;
};

} // namespace orchestry::partition
