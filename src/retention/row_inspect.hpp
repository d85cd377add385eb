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

/// Rows of a leaf that its policy leaves to others.
struct ClaimedRows {
    std::string condition;            ///< SQL that they meet; empty: there are none
    std::vector<catalog::JobId> jobs; ///< whose they are
    /// Why rows elsewhere that a job has yet to take would be deleted along, and what mends it;
    /// empty: none would.
    std::string lost_along;
};
/// What is archived by another policy is not deleted before, and goes to that archive which is for
/// fewer rows: those that meet a condition. What would be deleted along by foreign keys is archived
/// or compressed first, where that is somebody's job. `relid`: the table with the policy, of which
/// the leaf is a part.
ClaimedRows claimed_rows(Oid relid, Oid leaf, const CheckedRowPolicy& policy, base::Instant now);
/// Whether a leaf has any of those, asked with the rights of the table's owner.
bool has_claimed_row(Oid relid, Oid leaf, const ClaimedRows& claimed);

/// What the holds and other policies leave of a leaf's rows.
struct HeldRows {
    std::string all;       ///< what holds every row, and how to end that; empty: nothing does
    std::string condition; ///< SQL that rows meet that stay; empty: none do
    ClaimedRows claimed;   ///< which the condition has as well
};
/// `relid`: the table with the policy, of which the leaf is a part.
HeldRows held_rows(const catalog::Holds& holds, Oid relid, Oid leaf, const CheckedRowPolicy& policy,
                   base::Instant now);

/// Answers a plan's questions with the rights of the table's owner.
class ServerRowWorld : public RowWorld {
  public:
    ServerRowWorld(Oid relid, const CheckedRowPolicy& policy, base::Instant now)
        : relid_(relid), policy_(policy), now_(now) {}
    bool has_past_row(const Leaf& leaf, std::int64_t horizon) const override;

  private:
    Oid relid_;
    const CheckedRowPolicy& policy_;
    base::Instant now_;
};

} // namespace orchestry::retention
