// Backfills: columns of existing rows are set in small batches, each row once, beside everybody
// else's work.
#pragma once

#include "base/pace.hpp"
#include "catalog/job.hpp"
#include "catalog/throttle.hpp"
#include "pg/lock.hpp"

namespace orchestry::migrate {

/// The arguments of backfill(), as the server understands them.
struct BackfillSettings {
    std::string assignments;                ///< "a = lower(t.b), c = 1", all names qualified
    std::optional<std::string> predicate;   ///< which rows; nullopt: all
    std::optional<std::int32_t> batch_rows; ///< nullopt: as many as fit orchestry.batch_target_time
    /// Settings of the session that gave them, under which rows are changed as its UPDATE would.
    std::string time_zone, date_style, interval_style;
    bool operator==(const BackfillSettings&) const = default;
};

/// A table or partition that is walked along a unique key.
struct BackfillPart {
    Oid relid = InvalidOid;
    std::vector<std::string> key;                   ///< unquoted
    std::optional<std::vector<std::string>> cursor; ///< as text: rows up to this key are done
    bool done = false;
    std::int64_t rows = 0;
};

/// The job of a backfill: an unfinished one with the same arguments, which then goes on where it
/// was, or a new one, due for the scheduler in a minute. Raises 42501 for others than the table's
/// owner, 42809 for what is not a table, 42601 and 0A000 for assignments that are not just that or
/// set a key, 428C9 for those that set a generated column, 55000 for tables without a unique key,
/// 22023 for a predicate that is not one.
/// nullopt: the table has no partitions, and so no rows.
std::optional<catalog::JobId> start_backfill(Oid relid, const std::string& assignments,
                                             const std::optional<std::string>& predicate,
                                             std::optional<std::int32_t> batch_rows,
                                             base::Instant now);

BackfillSettings load_backfill(catalog::JobId job);
/// The parts that were there when the backfill began, in order; partitions that are gone are left
/// out. Empty after a restore: where it had got to is not dumped.
std::vector<BackfillPart> load_parts(catalog::JobId job);

/// How many rows a table has, by its statistics; nullopt: it has none yet.
std::optional<std::int64_t> estimated_rows(Oid relid);

/// One part while it is walked. What it remembers from batch to batch is only how fast that goes:
/// where it has got to is committed with each batch.
class BackfillWalk {
  public:
    BackfillWalk(const catalog::Job& job, BackfillSettings settings, BackfillPart part);

    struct Batch {
        enum class State { more, wait, done, gone };
        State state = State::more;
        std::int64_t rows = 0;
        std::int64_t lock_wait_us = 0;
        std::string message;
    };
    /// Sets the columns of the next rows in the current transaction, as the current user, who must
    /// be the table's owner. Raises 55P03 when somebody else keeps one of them locked.
    Batch next(std::int64_t lock_budget_us);

    std::vector<pg::LockRequest> lock_requests() const;
    /// What all the batches together execute.
    std::string sql() const;

  private:
    std::string condition(const std::vector<std::string>& bound, const char* comparison) const;
    bool read_position();
    struct End {
        std::optional<std::vector<std::string>> key;
        bool after_changes = false; ///< rows to be changed ended the batch, not keys
    };
    End end_of_batch();
    std::string keys() const;

    catalog::JobId job_;
    Oid root_;
    BackfillSettings settings_;
    BackfillPart part_;
    std::string name_;
    std::vector<std::string> types_; // of the key's columns
    base::Pace keys_pace_;           // of keys, where few rows are to be changed or all are
    base::Pace changes_pace_;        // of rows to be changed
    catalog::Throttle throttle_;
};

/// Removes the job of a backfill whose parts are all done, or have left; the history stays.
void finish_backfill(const catalog::Job& job);
/// Removes the job of a backfill that no batch was done of and that is not worth another try after
/// `failure`: whoever called has heard of it. The caller has the job's lock.
bool drop_unbegun(const catalog::Job& job, const pg::Failure& failure);
/// Whether a job that is gone was removed like that, and not because all rows were done.
bool was_given_up(catalog::JobId job);

} // namespace orchestry::migrate
