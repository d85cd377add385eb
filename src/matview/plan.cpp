#include "matview/plan.hpp"

#include <algorithm>

#include "base/arith.hpp"

namespace orchestry::matview {

using base::Instant;

namespace {

std::optional<std::size_t> find_view(const std::vector<View>& views, std::uint32_t relid) {
    for (std::size_t i = 0; i < views.size(); ++i)
        if (views[i].relid == relid)
            return i;
    return std::nullopt;
}

/// Depth first, so that whatever a view reads comes before it.
class Lineage {
  public:
    Lineage(const std::vector<View>& views, std::size_t target)
        : views_(views), target_(target), reached_(views.size(), false) {
        reach(target);
    }

    std::vector<std::size_t> order;

  private:
    void reach(std::size_t i) {
        if (reached_[i])
            return;
        reached_[i] = true;
        for (const std::uint32_t parent : views_[i].parents)
            if (const auto found = find_view(views_, parent); found && views_[*found].is_ours) {
                std::vector<bool> seen(views_.size(), false);
                if (!reads_target(*found, seen))
                    reach(*found);
            }
        order.push_back(i);
    }

    /// Whether a view reads the one that the run is for: the run of either would wait for the other
    /// one's for ever.
    bool reads_target(std::size_t i, std::vector<bool>& seen) const {
        if (i == target_)
            return true;
        if (seen[i])
            return false;
        seen[i] = true;
        return std::any_of(views_[i].parents.begin(), views_[i].parents.end(),
                           [&](std::uint32_t parent) {
                               const auto found = find_view(views_, parent);
                               return found && reads_target(*found, seen);
                           });
    }

    const std::vector<View>& views_;
    const std::size_t target_;
    std::vector<bool> reached_;
};

/// Whether nothing in a view's own sources can have changed without its change being known.
bool is_provable(const View& view) { return view.opaque.empty() && view.unwatched.empty(); }

/// Fewer dead rows are not worth it that readers wait.
constexpr std::int64_t least_dead_rows = 10'000;
/// Nor is it worth it that they wait for longer than this.
constexpr std::int64_t longest_lockout_us = 5 * base::us_per_second;

/// Whether vacuum has not kept up with concurrent refreshes, each of which replaces all rows at
/// most: the files of the view are more than twice as large as its rows need.
bool is_bloated(const View& view) {
    return view.dead_rows >= least_dead_rows && view.dead_rows > view.live_rows;
}

/// Why changes of a view may not be known.
std::string doubt(const View& view) {
    if (!view.opaque.empty())
        return view.opaque;
    return "changes of " + view.unwatched.front() + " have not been watched";
}

class Planner {
  public:
    Planner(const std::vector<View>& views, std::size_t target, Instant now)
        : views_(views), target_(target), now_(now), refreshed_(views.size(), false) {}

    std::vector<Step> all();

  private:
    std::string why(std::size_t i) const;
    std::string refreshed_parent(const View& view) const;
    bool is_old(const View& view) const;
    /// What is far ahead is as old: the clock was set back, nobody knows when.
    std::int64_t time_since(Instant then) const {
        return std::max(base::saturating_subtract(now_.us, then.us),
                        base::saturating_subtract(then.us, now_.us));
    }
    void watch(std::size_t i);
    void refresh(std::size_t i, std::string reason, bool depends);

    const std::vector<View>& views_;
    const std::size_t target_;
    const Instant now_;
    std::vector<bool> refreshed_;
    Instant parents_as_of_{base::plus_infinity}; // of those that are left as they are
    std::vector<Step> steps_;
};

void Planner::watch(std::size_t i) {
    for (const std::string& source : views_[i].unwatched) {
        Step step;
        step.action = Action::watch;
        step.view = i;
        step.source = source;
        step.reason = "changes of it are to be seen by " + views_[i].quoted;
        steps_.push_back(std::move(step));
    }
}

/// Whether an ancestor that may have changed is too old for the view that the run is for.
bool Planner::is_old(const View& view) const {
    return time_since(*view.as_of) > views_[target_].policy.max_staleness_us / 2;
}

/// Why a view is refreshed whatever becomes of others; empty: nothing speaks for it.
std::string Planner::why(std::size_t i) const {
    const View& view = views_[i];
    if (!view.is_populated)
        return "it has no data";
    if (!view.as_of || !view.refreshed_at)
        return "it has not been refreshed by its job yet";
    if (!view.change.empty())
        return view.change;
    if (!is_provable(view))
        return i == target_ || is_old(view) ? "it may have changed: " + doubt(view) : "";
    if (view.policy.detection == Detection::stats &&
        time_since(*view.refreshed_at) >= view.policy.max_unverified_us)
        return "that nothing has changed was only a hint for longer than max_unverified";
    return {};
}

/// The first parent that a step before refreshes; empty: there is none.
std::string Planner::refreshed_parent(const View& view) const {
    for (const std::uint32_t parent : view.parents)
        if (const auto found = find_view(views_, parent); found && refreshed_[*found])
            return views_[*found].quoted;
    return {};
}

void Planner::refresh(std::size_t i, std::string reason, bool depends) {
    const View& view = views_[i];
    Step step;
    step.action = Action::refresh;
    step.view = i;
    step.reason = std::move(reason);
    step.depends = depends;
    if (!view.parents.empty())
        step.as_of = std::min(parents_as_of_, now_);
    const bool can = view.is_populated && view.has_key && view.has_temporary;
    step.if_unread = can && view.policy.mode == Mode::automatic && is_bloated(view) &&
                     view.longest_us <= longest_lockout_us;
    step.concurrently = can && view.policy.mode != Mode::plain && !step.if_unread;
    if (!view.has_key && view.policy.mode == Mode::concurrently)
        step.blocked_by = "materialized view " + view.quoted +
                          " has no unique index that CONCURRENTLY can use: create one, or let mode "
                          "be 'auto'";
    else if (!view.has_temporary && view.policy.mode == Mode::concurrently)
        step.blocked_by = "the owner of materialized view " + view.quoted +
                          " may not make temporary tables, which CONCURRENTLY needs: grant that "
                          "role TEMPORARY on the database, or let mode be 'auto'";
    else if (!view.is_populated && view.policy.mode != Mode::plain)
        step.reason += "; plainly, because it has none to compare with";
    else if (!view.has_key && view.policy.mode == Mode::automatic)
        step.reason += "; plainly, because it has no unique index that CONCURRENTLY can use";
    else if (!view.has_temporary && view.policy.mode == Mode::automatic)
        step.reason += "; plainly, because its owner may not make temporary tables, which "
                       "CONCURRENTLY needs";
    else if (step.if_unread)
        step.reason += "; plainly, unless readers are in the way, because it has more dead rows "
                       "than others";
    steps_.push_back(std::move(step));
    refreshed_[i] = true;
}

std::vector<Step> Planner::all() {
    for (const std::size_t i : lineage(views_, target_)) {
        watch(i);
        const std::string parent = refreshed_parent(views_[i]);
        std::string reason = why(i);
        if (!reason.empty())
            refresh(i, std::move(reason), false);
        else if (!parent.empty())
            refresh(i, "it reads " + parent + ", which is refreshed before", true);
        else if (!is_provable(views_[i]))
            parents_as_of_ = std::min(parents_as_of_, *views_[i].as_of);
    }
    if (!refreshed_[target_]) {
        Step step;
        step.view = target_;
        step.reason = views_[target_].policy.detection == Detection::stats
                          ? "the counters of what it reads have not moved since its refresh"
                          : "nothing that it reads has changed since its refresh";
        steps_.push_back(std::move(step));
    }
    return std::move(steps_);
}

} // namespace

const char* to_string(Action action) {
    switch (action) {
    case Action::watch:
        return "watch";
    case Action::refresh:
        return "refresh";
    case Action::leave:
        return "leave";
    }
    return "";
}

std::vector<std::size_t> lineage(const std::vector<View>& views, std::size_t target) {
    return Lineage(views, target).order;
}

std::vector<Step> plan(const std::vector<View>& views, std::size_t target, Instant now) {
    return Planner(views, target, now).all();
}

Instant proven_at(const std::vector<View>& views, std::size_t target, Instant now) {
    Instant at = now;
    for (const std::size_t i : lineage(views, target))
        if (!is_provable(views[i]))
            at = std::min(at, views[i].as_of.value_or(base::minus_infinity));
    return at;
}

Instant due_at(std::int64_t max_staleness_us, std::optional<Instant> as_of,
               std::int64_t expected_us, Instant now) {
    const std::int64_t lead = std::min(expected_us, max_staleness_us / 2);
    const std::int64_t pause = std::max(max_staleness_us - lead, base::us_per_second);
    // What is in the future by now was written before the clock was set back.
    const Instant right = std::clamp(as_of.value_or(now), base::min_instant, now);
    const Instant due = base::plus(right, pause);
    return due > now ? due : base::plus(now, pause);
}

} // namespace orchestry::matview
