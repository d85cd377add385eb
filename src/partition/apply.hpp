// Steps as statements, and their execution in the current transaction: lock within a budget, check
// again what the plan was based on, act.
#pragma once

#include "partition/policy.hpp"
#include "pg/lock.hpp"

namespace orchestry::partition {

struct Sibling;

/// What a new partition takes over from its set, and the statements that make one.
///
/// LIKE copies columns, defaults, CHECK and NOT NULL constraints, indexes, storage, compression,
/// extended statistics and the comments on them; ATTACH adds foreign keys, row triggers and (from
/// PostgreSQL 17) identity. All else is done here: table comment, privileges, row security, replica
/// identity and statistics targets follow the parent; storage options, access method and
/// persistence, which a partitioned parent does not have, follow the newest partition that is a
/// plain table. Identity is never copied: it would be a second sequence.
class Template {
  public:
    explicit Template(const Set& set);

    /// The new table's name, qualified and quoted.
    std::string quoted(const std::string& name) const;
    /// The statements that make a table of this unquoted name in the set's schema, just like its
    /// partitions.
    std::vector<std::string> create(const std::string& name) const;
    /// The statement that can be run only once the table is attached, if any: its replica identity.
    /// Before that the index has no name yet, and the parent's index stands for it.
    std::optional<std::string> finish(const std::string& name) const;

  private:
    /// A statement around the new table's quoted name.
    struct Statement {
        std::string before;
        std::string after;
    };
    /// A row security policy. Its expressions stay nodes until the table's name is known, because
    /// they may mention it.
    struct RowPolicy {
        std::string name;   // quoted
        std::string middle; // AS ... FOR ... TO ...
        std::string using_nodes;
        std::string check_nodes;
    };

    void read_storage(const Set& set, Relation parent, const Sibling& sibling);
    void read_statistics_targets(Relation parent);
    void read_privileges(Relation parent);
    void read_row_policies(Relation parent);
    void read_replica_identity(Relation parent, const Sibling& sibling);
    std::string deparse(const std::string& nodes, const std::string& name) const;

    Oid parent_;
    std::string parent_quoted_;
    Oid schema_id_;
    std::string schema_;      // quoted
    std::string persistence_; // "UNLOGGED " or nothing
    std::string storage_;     // USING, WITH and TABLESPACE clauses
    std::vector<Statement> statements_;
    std::vector<RowPolicy> row_policies_;
    std::string replica_identity_;   // FULL or NOTHING, or nothing
    Oid replica_index_ = InvalidOid; // the parent's
};

/// A planned step made ready to be shown and applied.
struct Step {
    PlannedStep planned;
    std::string object;                         ///< quoted name of what it acts on
    std::vector<std::string> statements;        ///< what is executed, in order
    std::vector<pg::LockRequest> lock_requests; ///< in the order in which they are taken
};

/// Makes the steps of one plan ready. Takes no lock stronger than AccessShareLock.
std::vector<Step> prepare(const Set& set, std::vector<PlannedStep> planned);

/// What applying a step did.
struct Applied {
    bool done = false;
    std::string why_not; ///< when it was not done: what had changed since the plan
    std::int64_t lock_wait_us = 0;
};

/// Applies a step in the current transaction, as the current user, who must be the set's owner. All
/// locks are waited for within `lock_budget_us` together: raises 55P03 after that. `settings`:
/// those that the step was planned by.
Applied apply(Oid parent, catalog::JobId job, const Settings& settings, const Step& step,
              std::int64_t lock_budget_us);

// --- the parts, for those who hold the locks already --------------------------------------------

/// The locks of ATTACH PARTITION to the set, in the order in which all our steps take them: tables
/// at the other ends of foreign keys, the parent, the default partition.
std::vector<pg::LockRequest> attach_locks(const Set& set);

/// For a scope, nothing of the session's settings changes what a new table is like, and no lock
/// that a statement takes besides those held is waited for longer than `lock_budget_us`.
class StatementScope {
  public:
    explicit StatementScope(std::int64_t lock_budget_us);

  private:
    pg::GucLevel guc_;
    UnforcedRowSecurity unforced_; // ATTACH checks foreign keys by queries
};

/// ALTER TABLE ... ATTACH PARTITION for the range of a create step. `table`: quoted.
std::string attach_sql(const Set& set, const PlannedStep& step, const std::string& table);
std::string drop_constraint_sql(const std::string& table, const std::string& constraint);

/// Makes and attaches the partition of a create step, in a StatementScope. Returns the partition.
Oid create_partition(const Set& set, const PlannedStep& step);

} // namespace orchestry::partition
