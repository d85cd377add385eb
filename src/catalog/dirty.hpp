// What has changed since it was computed, and what is not to be computed again: typed access to
// orchestry.dirty_mark and orchestry.frozen_span.
//
// Words: a mark says that rows of a table have changed whose times lie in an interval. It is
// written in the transaction of the change itself, so that both become visible together, and is
// consumed by the job that computes something from the table, before that reads the rows. A span is
// frozen when rows were removed because of their age: what was computed from them stays.
#pragma once

#include "base/civil.hpp"
#include "base/grid.hpp"
#include "base/instant_set.hpp"
#include "catalog/job.hpp"

namespace orchestry::catalog {

/// The times that can be marked, the years 1 to 9999.
inline constexpr base::TimeExtent all_time{
    {base::days_from_civil({1, 1, 1}) * base::us_per_day},
    {base::days_from_civil({10000, 1, 1}) * base::us_per_day}};
/// The whole buckets of these times. Rows of other times are in no bucket.
inline base::TimeExtent all_buckets(const base::Grid& grid) {
    return {grid.ceil(all_time.from), grid.floor(all_time.to)};
}

/// Makes the marks and frozen spans of a job this transaction's: nobody else consumes or freezes
/// until it ends, and whoever has relied on a mark has committed. Waits, under lock_timeout.
void lock_marks(JobId job);

/// What is marked, or frozen, as of now, whatever snapshot the transaction has. Changes nothing, so
/// that a hook in the middle of a command may ask.
base::InstantSet marked(JobId job);
base::InstantSet frozen(JobId job);
/// What is frozen, and of which nothing is stored any more.
base::InstantSet removed(JobId job);
/// What is marked and not frozen.
base::InstantSet dirty(JobId job);

/// Writes marks and frozen spans when a transaction commits. They are inserted without SQL, which
/// would cost a small transaction more than all else that it does for them.
class SpanWriter : pg::Scoped {
  public:
    SpanWriter();
    ~SpanWriter();
    SpanWriter(const SpanWriter&) = delete;
    SpanWriter& operator=(const SpanWriter&) = delete;

    void mark(JobId job, const base::InstantSet& spans);
    /// Whether these are marked already, by marks that nobody consumes before this transaction has
    /// committed; then it need not write others. So however many transactions write, each bucket is
    /// marked once, or as often as they begin at once.
    bool relies_on_marks(JobId job, const base::InstantSet& spans);
    /// `partition`: with which the rows have left.
    void freeze(JobId job, Oid partition, const base::InstantSet& spans);

  private:
    Relation marks_, frozen_; // nullptr: the extension is being dropped
};

/// Marks an interval.
void mark(JobId job, const base::TimeExtent& extent);
/// Takes the marks off an interval. The rows must be read by a later statement than this, so that
/// whatever a consumed mark stands for is seen.
void consume(JobId job, const base::TimeExtent& extent);
/// Puts one mark in the place of several where they overlap or touch.
void gather_marks(JobId job);

/// What becomes of that which was computed from a frozen interval.
enum class Stored { stays, removed };
/// Freezes an interval for good.
void freeze(JobId job, const base::TimeExtent& extent, Stored stored);
/// Makes undone what froze an interval, or what froze when a partition has left: answers these
/// times. As of now, whatever snapshot the transaction has; the caller has locked the marks.
void thaw(JobId job, const base::TimeExtent& extent);
base::InstantSet thaw_partition(JobId job, Oid partition);

} // namespace orchestry::catalog
