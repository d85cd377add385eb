// From the catalogs to plan.hpp's plain structs, and the plan's questions about rows. Nothing here
// takes a lock stronger than AccessShareLock.
#pragma once

#include "catalog/hold.hpp"
#include "catalog/quarantine.hpp"
#include "retention/policy.hpp"

namespace orchestry::retention {

/// Reads a set with what a job has in quarantine. Raises 55000 when the table is not partitioned by
/// one column of that kind any more.
Set inspect(Oid parent, base::KeyKind kind, catalog::JobId job);

/// The foreign keys of a table to others, and of others to it, ordered by the other table.
std::vector<ForeignKey> foreign_keys_of(Oid relid);
std::vector<ForeignKey> foreign_keys_to(Oid relid);

using catalog::stranger;

/// A table that the owner of a set may not read for a plan: whatever is in it is run by the reader.
struct StrangersTable {
    Oid relid = InvalidOid;
    std::string role; ///< its owner, quoted
};
/// The first such one among a table and all that is below it, which are read together.
std::optional<StrangersTable> strangers_table(Oid relid, Oid set_owner);

/// The holds on a table, as a plan of the set's owner knows them.
std::vector<Hold> holds_on(const catalog::Holds& holds, Oid relid, Oid set_owner,
                           const std::optional<base::TimeExtent>& extent = std::nullopt);

/// Answers a plan's questions with the rights of the set's owner.
class ServerWorld : public World {
  public:
    explicit ServerWorld(Oid set) : set_(set) {}

    // What has a predicate is answered with yes also when that cannot be found out, because a
    // column of the predicate was renamed.
    bool has_held_row(const Thing& thing, const Hold& hold) const override;
    bool is_referenced(const Partition& partition, const ForeignKey& key) const override;
    std::string dependents(const Partition& partition) const override;
    bool awaits_compression(const Partition& partition) const override;
    std::optional<std::int64_t> awaits_archive(const Partition& partition) const override;
    std::string awaited_by(const Partition& partition) const override;

  private:
    bool may_find_row(const std::string& query) const;

    Oid set_;
};

} // namespace orchestry::retention
