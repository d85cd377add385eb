// Which materialized views a run refreshes, in which order, how and why: decided from plain facts,
// without a catalog, a lock or a clock of its own. The same decision is shown by orchestry.plan()
// and carried out by a run.
//
// Words: a view is a materialized view that has a refresh policy. It is right as of an instant when
// its rows are what its query said then. The sources of a view are the tables that its query reads;
// other views that it reads are its parents, and they, with theirs, its ancestors. A source is
// watched when whoever changes it leaves a mark for the view (capture/capture.hpp).
#pragma once

#include "base/time.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace orchestry::matview {

/// How a view is to be refreshed.
enum class Mode {
    automatic,    ///< concurrently where that can be, else plainly
    plain,        ///< nobody can read it meanwhile
    concurrently, ///< readers go on; needs a unique index
};

/// How it is known that a view has not changed.
enum class Detection {
    triggers, ///< its sources are watched: proof
    stats,    ///< the server's counters of changed rows have not moved: a hint
    none,     ///< it is not known
};

/// What the user wants to hold for a view.
struct Policy {
    std::int64_t max_staleness_us = base::us_per_hour; ///< positive
    Mode mode = Mode::automatic;
    Detection detection = Detection::triggers;
    std::int64_t max_unverified_us = base::us_per_day; ///< hints are believed for so long
};

/// What is known of a view.
struct View {
    std::uint32_t relid = 0;
    std::string quoted; ///< qualified
    Policy policy;
    bool is_ours = true; ///< the run may refresh it: it has the rights, and the job is not paused
    bool is_populated = true;
    bool has_key = true;         ///< an index that REFRESH ... CONCURRENTLY can use
    bool has_temporary = true;   ///< its owner may make temporary tables, as that does
    std::int64_t live_rows = 0;  ///< this and the next as the server estimates them
    std::int64_t dead_rows = 0;  ///< replaced by refreshes, and not removed by a vacuum yet
    std::int64_t longest_us = 0; ///< how long its last refreshes have taken at most
    std::vector<std::uint32_t> parents;
    std::vector<std::string> unwatched; ///< sources that are to be watched and are not yet, quoted
    std::string opaque;                 ///< why changes may go unseen; empty: they cannot
    std::string change;                 ///< what has changed since it was refreshed; empty: nothing
    std::optional<base::Instant> as_of; ///< when it was right; nullopt: never
    std::optional<base::Instant> refreshed_at;
};

enum class Action {
    watch,   ///< changes of a source are seen from now on
    refresh, ///< the view is computed again
    leave,   ///< nothing is done: it is explained why
};

/// The word for an action in orchestry.plan().
const char* to_string(Action action);

/// One step, to be applied in a transaction of its own.
struct Step {
    Action action = Action::leave;
    std::size_t view = 0; ///< index of the view that it is for
    std::string source;   ///< watch: the table, quoted
    std::string reason;   ///< plain words
    bool concurrently = false;
    /// Plainly only to be rid of dead rows: concurrently after all when readers are in the way.
    bool if_unread = false;
    /// Refresh because a parent is refreshed before: nothing is to be done when that has changed no
    /// row.
    bool depends = false;
    /// The view will be right as of then, at best: its parents are not later. nullopt: it has none.
    std::optional<base::Instant> as_of;
    std::string blocked_by; ///< not empty: it cannot be applied, and this says why
};

/// The ancestors of a view that a run may refresh and the view itself, each after those that it
/// reads. Parents that are no view of ours end the search, and so do those that read the view
/// itself, through a function: their own jobs refresh them.
std::vector<std::size_t> lineage(const std::vector<View>& views, std::size_t target);

/// The steps that make a view right at `now`: none of another view but of its lineage.
std::vector<Step> plan(const std::vector<View>& views, std::size_t target, base::Instant now);

/// As of when a view that plan() leaves alone is known to be right at `now`.
base::Instant proven_at(const std::vector<View>& views, std::size_t target, base::Instant now);

/// When a view that was right as of then has to be looked at again, so that it is never older than
/// it may be: its refresh begins as long before that as it is expected to take, but for half of
/// max_staleness nothing is done. When that is over by `now`, or it is not known as of when it was
/// right, or the clock was set back to before then, the time counts from `now`.
base::Instant due_at(std::int64_t max_staleness_us, std::optional<base::Instant> as_of,
                     std::int64_t expected_us, base::Instant now);

} // namespace orchestry::matview
