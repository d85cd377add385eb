// Indexes that are built beside everybody else's work, on tables and on all partitions of one.
#pragma once

#include "catalog/job.hpp"
#include "migrate/index_plan.hpp"
#include "pg/lock.hpp"

namespace orchestry::migrate {

/// An index that is to be there.
struct IndexBuild {
    std::string name; ///< unquoted
    bool is_unique = false;
    std::string definition; ///< "USING btree (app)", all names qualified
    bool operator==(const IndexBuild&) const = default;
};

/// The job that builds the index that CREATE INDEX asks for: one that does so already, or a new
/// one, due for the scheduler in five minutes. nullopt: the index is there. Raises what
/// pg::read_index() raises; 42501 for others than the table's owner, 42809 for what is not a
/// permanent table or has foreign partitions, 42710 when another index of that name is being built.
std::optional<catalog::JobId> start_index_build(const std::string& sql, base::Instant now);

IndexBuild load_index_build(catalog::JobId job);

/// A step made ready to be shown and applied.
struct PreparedIndexStep {
    IndexStep planned;
    IndexTarget target;
    std::string object; ///< the index, or the partition's index, qualified and quoted
    std::string sql;
    bool is_top_level = false; ///< `sql` refuses a transaction block
    std::vector<pg::LockRequest> lock_requests;
};
std::vector<PreparedIndexStep> plan_index_build(const catalog::Job& job);

/// What a step did, or found when it was looked at again.
struct IndexApplied {
    bool done = false;
    std::int64_t rows = 0;
    std::int64_t lock_wait_us = 0;
    std::string message;
};
/// Takes the locks, checks what the plan was based on and, unless the statement goes to top level,
/// runs it: in the current transaction, as the current user.
IndexApplied apply_index_step(const catalog::Job& job, const PreparedIndexStep& step,
                              std::int64_t lock_budget_us);

/// Removes the job when the index is there; the history stays.
void finish_index_build(const catalog::Job& job);

} // namespace orchestry::migrate
