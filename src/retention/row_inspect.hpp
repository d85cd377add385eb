// From the catalogs to row_plan.hpp's plain structs, and the plan's questions about rows. Nothing
// here takes a lock stronger than AccessShareLock.
#pragma once

#include "retention/row_policy.hpp"

namespace orchestry::retention {

/// Reads a table as its policy for rows sees it at `now`.
RowTable inspect_rows(Oid relid, const CheckedRowPolicy& policy, base::Instant now);

/// A table whose rows a DELETE elsewhere would delete or change, by the ON DELETE and ON UPDATE of
/// foreign keys.
struct Touched {
    Oid relid = InvalidOid;
    bool loses_rows = false; ///< else some are changed
};
/// Those that a DELETE from a table, or from a partition of it, would touch, over any number of
/// foreign keys.
std::vector<Touched> touched_along(Oid relid, Oid leaf);

/// A foreign key that would delete rows along, which an archive does not get.
struct Cascade {
    std::string table;      ///< whose rows they are, qualified and quoted
    std::string constraint; ///< quoted
};
/// Such a key onto one of some tables; nullopt: there is none.
std::optional<Cascade> find_cascade(const std::vector<Oid>& relids);

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
