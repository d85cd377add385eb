// From the catalogs to row_plan.hpp's plain structs, and the plan's questions about rows. Nothing
// here takes a lock stronger than AccessShareLock.
#pragma once

#include "retention/row_policy.hpp"

namespace orchestry::retention {

/// Reads a table as its policy for rows sees it at `now`.
RowTable inspect_rows(Oid relid, const CheckedRowPolicy& policy, base::Instant now);

/// The tables from which a DELETE from a table, or from a partition of it, would delete rows by ON
/// DELETE CASCADE, over any number of foreign keys.
std::vector<Oid> cascade_targets(Oid relid, Oid leaf);

/// What the holds leave of a leaf's rows.
struct HeldRows {
    std::string all;       ///< what holds every row, and how to end that; empty: nothing does
    std::string condition; ///< SQL that held rows meet; empty: none is held
};
/// `relid`: the table with the policy, of which the leaf is a part.
HeldRows held_rows(const catalog::Holds& holds, Oid relid, Oid leaf,
                   const CheckedRowPolicy& policy);

/// Answers a plan's questions with the rights of the table's owner.
class ServerRowWorld : public RowWorld {
  public:
    ServerRowWorld(Oid relid, const CheckedRowPolicy& policy) : relid_(relid), policy_(policy) {}
    bool has_past_row(const Leaf& leaf, std::int64_t horizon) const override;

  private:
    Oid relid_;
    const CheckedRowPolicy& policy_;
};

} // namespace orchestry::retention
