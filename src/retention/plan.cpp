#include "retention/plan.hpp"

#include "base/arith.hpp"
#include "base/civil.hpp"
#include "base/name_pattern.hpp"
#include "base/text.hpp"

#include <algorithm>

namespace orchestry::retention {

using base::Bound;
using base::Error;
namespace errc = base::errc;

namespace {

/// Adding months and days to a bound does not exactly undo taking them from now: where months end
/// on different days the two are days apart, and where a clock is set back hours.
constexpr std::int64_t calendar_slack_us = 4 * base::us_per_day;

bool is_bounded(const base::Range& range) {
    return range.lower.kind == Bound::Kind::value && range.upper.kind == Bound::Kind::value;
}

/// When the clock brings the horizon to a bound.
base::Instant due_at(const Set& set, const Policy& policy, const Bound& upper) {
    const base::Instant due =
        base::add(base::axis_zone(set.kind, *policy.zone), base::instant_of(set.kind, upper.at),
                  std::get<base::Span>(policy.keep));
    return base::is_wall_clock(set.kind) ? base::to_instant(*policy.zone, base::LocalTime{due.us})
                                         : due;
}

} // namespace

bool is_due(const Partition& partition, std::optional<std::int64_t> horizon) {
    if (!horizon)
        return false;
    const Bound end = Bound::value(*horizon);
    // A uuid's bound may lie within the horizon's millisecond.
    return partition.exact_upper.empty() ? partition.range.upper <= end
                                         : partition.range.upper < end;
}

const Partition* newest(const Set& set) {
    const auto found = std::find_if(set.partitions.rbegin(), set.partitions.rend(),
                                    [](const Partition& p) { return !p.detach_pending; });
    return found == set.partitions.rend() ? nullptr : &*found;
}

std::optional<base::Instant> due_at(const Set& set, const Policy& policy,
                                    const Partition& partition) {
    if (!std::holds_alternative<base::Span>(policy.keep) ||
        partition.range.upper.kind != Bound::Kind::value)
        return std::nullopt;
    try {
        return due_at(set, policy, partition.range.upper);
    } catch (const Error&) { // further than time goes
        return std::nullopt;
    }
}

void check_not_negative(const base::Span& span, const char* what) {
    if (span.months < 0 || span.days < 0 || span.us < 0)
        throw Error(errc::invalid_parameter, std::string("\"") + what + "\" must not be negative")
            .detail("Every part of the interval must be positive or zero.")
            .hint("Use an interval such as '7 days'.");
}

void check_positive(const base::Span& span, const char* what) {
    check_not_negative(span, what);
    if (span == base::Span{0, 0, 0})
        throw Error(errc::invalid_parameter, std::string("\"") + what + "\" must not be zero")
            .hint("Use an interval such as '90 days' or '1 year'.");
}

std::optional<std::int64_t> horizon(const Set& set, const Policy& policy, base::Instant now) {
    if (const auto* keys = std::get_if<std::int64_t>(&policy.keep))
        return set.position ? std::optional(base::saturating_subtract(*set.position, *keys))
                            : std::nullopt;
    return base::horizon(set.kind, *policy.zone, now, std::get<base::Span>(policy.keep));
}

void check_keep(const Set& set, const Policy& policy, base::Instant now) {
    const auto within_time = [](const char* what, auto&& reach) {
        try {
            (void)reach();
        } catch (const Error& error) {
            throw Error(error.sqlstate(),
                        std::string("\"") + what + "\" goes further than time does")
                .hint("Use a shorter interval.");
        }
    };
    within_time("keep", [&] { return horizon(set, policy, now); });
    within_time("grace", [&] { return base::add(*policy.zone, now, policy.grace); });
    const auto bounded = std::find_if(set.partitions.rbegin(), set.partitions.rend(),
                                      [](const Partition& p) { return is_bounded(p.range); });
    if (bounded == set.partitions.rend())
        return;
    const base::Range& range = bounded->range;
    bool too_short = false;
    if (const auto* keys = std::get_if<std::int64_t>(&policy.keep))
        too_short = *keys < base::saturating_subtract(range.upper.at, range.lower.at);
    else
        too_short = base::add(base::axis_zone(set.kind, *policy.zone),
                              base::instant_of(set.kind, range.lower.at),
                              std::get<base::Span>(policy.keep)) <
                    base::instant_of(set.kind, range.upper.at);
    if (too_short)
        throw Error(errc::invalid_parameter, "\"keep\" is shorter than one partition")
            .detail("The newest partition " + bounded->quoted + " goes from " +
                    base::bound_text(set.kind, range.lower) + " to " +
                    base::bound_text(set.kind, range.upper) +
                    ", and partitions are removed as a whole.")
            .hint("Keep at least as much as one partition holds, or use smaller partitions.");
}

std::string quarantine_name(std::uint32_t relid, const std::string& name) {
    const std::string prefix = "orchestry_quarantine_" + std::to_string(relid) + "_";
    const std::size_t room = base::max_name_bytes - prefix.size();
    return prefix +
           (name.size() <= room ? name : name.substr(0, base::whole_characters(name, room)));
}

const char* to_string(Action action) {
    switch (action) {
    case Action::announce:
        return "announce";
    case Action::finalize_detach:
        return "finalize_detach";
    case Action::begin_grace:
        return "begin_grace";
    case Action::reinstate:
        return "reinstate";
    case Action::detach:
        return "detach";
    case Action::archive:
        return "archive";
    case Action::publish:
        return "publish";
    case Action::drop:
    case Action::remove:
        return "drop";
    case Action::leave:
        break;
    }
    return "leave";
}

namespace {

class Planner {
  public:
    Planner(const Set& set, const Policy& policy, base::Instant now, const World& world)
        : set_(set), policy_(policy), now_(now), world_(world), horizon_(horizon(set, policy, now)),
          newest_(newest(set)) {}

    std::vector<PlannedStep> all();

  private:
    void finalize_detaches();
    void begin_graces();
    void archive_kept();
    void archive_all(const Detached& detached, const std::string& blocked_by);
    std::string objection_to_any(const Detached& detached) const;
    void drop_expired();
    void take_due();
    void reinstate();
    void explain_fallback();
    void announce();

    bool has_no_grace() const {
        return policy_.action == Expiry::drop && policy_.grace == base::Span{0, 0, 0};
    }
    bool goes_in_one_step(const Partition& partition) const;
    void take(const Partition& partition);
    void archive(const Thing& thing, std::uint32_t root, const std::string& object,
                 const std::string& blocked_by);
    void drop(const Thing& thing, std::uint32_t root, const std::string& object, std::string reason,
              const std::string& blocked_by);
    bool leave_held(const Thing& thing, const std::string& reason);
    const Hold* hold_on(const Thing& thing) const;
    std::string belongs_to(const std::string& what, const std::string& role,
                           const std::string& table) const;
    std::string objection(const Thing& thing) const;
    const ForeignKey* referenced_by(const Partition& partition) const;
    bool leave_referenced(const Partition& partition, const std::string& reason);
    bool leave_uncompressed(const Partition& partition, const std::string& reason);
    bool leave_unarchived(const Partition& partition, const std::string& reason);
    bool leave_unread(const Partition& partition, const std::string& reason);
    std::string why_due(const Partition& partition) const;
    std::string why_not_concurrently() const;
    PlannedStep& add(Action action, const Thing& thing, std::string reason);

    const Set& set_;
    const Policy& policy_;
    const base::Instant now_;
    const World& world_;
    const std::optional<std::int64_t> horizon_;
    const Partition* const newest_;

    std::vector<PlannedStep> steps_;
};

std::vector<PlannedStep> Planner::all() {
    // What was begun is ended first. Drops come before detaches: they give space back, and nobody
    // uses what they take.
    finalize_detaches();
    begin_graces();
    archive_kept();
    drop_expired();
    take_due();
    reinstate();
    explain_fallback();
    announce();
    return std::move(steps_);
}

PlannedStep& Planner::add(Action action, const Thing& thing, std::string reason) {
    PlannedStep step;
    step.action = action;
    step.relid = thing.relid;
    step.root = thing.relid;
    step.object = thing.quoted;
    step.reason = std::move(reason);
    steps_.push_back(std::move(step));
    return steps_.back();
}

/// The hold that keeps a table, or nothing. Rows of a stranger's table are not looked at: reading
/// it may run code of the stranger, with the rights of the set's owner.
const Hold* Planner::hold_on(const Thing& thing) const {
    for (const Hold& hold : thing.holds)
        if (hold.predicate.empty() || !thing.stranger.empty() || world_.has_held_row(thing, hold))
            return &hold;
    return nullptr;
}

/// Held data is meant to stay, so that it does is no failure of the run: it is only shown.
bool Planner::leave_held(const Thing& thing, const std::string& reason) {
    const Hold* const hold = hold_on(thing);
    if (!hold)
        return false;
    const std::string id = std::to_string(hold->id);
    add(Action::leave, thing, reason).blocked_by = "hold " + id + " (" + hold->reason +
                                                   "); to end it: SELECT orchestry.release_hold(" +
                                                   id + ", 'why');";
    return true;
}

std::string needed_by(const std::string& dependents) {
    return "it is needed by " + dependents + ": drop that first";
}

std::string Planner::belongs_to(const std::string& what, const std::string& role,
                                const std::string& table) const {
    return what + " belongs to role " + role + ": ALTER TABLE " + table + " OWNER TO " +
           set_.owner + ";";
}

/// Why nothing may be removed that is otherwise to be removed.
std::string Planner::objection(const Thing& thing) const {
    if (!policy_.veto.empty())
        return policy_.veto;
    if (!thing.strangers_part.empty())
        return belongs_to("its part " + thing.strangers_part, thing.stranger, thing.strangers_part);
    if (!thing.stranger.empty())
        return belongs_to("it", thing.stranger, thing.quoted);
    if (!thing.dependents.empty())
        return needed_by(thing.dependents);
    return {};
}

void Planner::finalize_detaches() {
    for (const Partition& partition : set_.partitions)
        if (partition.detach_pending)
            add(Action::finalize_detach, partition,
                "DETACH CONCURRENTLY was interrupted: until it is completed, rows of this range "
                "have no partition "
                "to go to");
}

void Planner::begin_graces() {
    for (const Detached& detached : set_.quarantine)
        if (!detached.at)
            add(Action::begin_grace, detached,
                "a run was interrupted right after it had detached " + detached.former);
}

/// The steps that bring the rows of a table into a file.
void Planner::archive(const Thing& thing, std::uint32_t root, const std::string& object,
                      const std::string& blocked_by) {
    if (policy_.directory.empty())
        return;
    const auto step = [&](Action action, const std::string& reason) {
        PlannedStep& added = add(action, thing, reason);
        added.root = root;
        added.object = object;
        added.blocked_by = blocked_by;
    };
    if (thing.in_file == InFile::no)
        step(Action::archive, "its rows go into a file in " + policy_.directory +
                                  ", which is read back and compared with them");
    if (thing.in_file == InFile::no || thing.in_file == InFile::unnamed)
        step(Action::publish, "its file is complete and gets its name");
}

/// What stays in quarantine for ever goes into files at once; what is to be dropped, just before.
void Planner::archive_kept() {
    if (policy_.action != Expiry::detach)
        return;
    for (const Detached& detached : set_.quarantine)
        if (detached.at)
            archive_all(detached, objection_to_any(detached));
}

void Planner::archive_all(const Detached& detached, const std::string& blocked_by) {
    for (const Thing& part : detached.parts)
        archive(part, detached.relid, part.quoted, blocked_by);
    archive(detached, detached.relid, detached.quoted, blocked_by);
}

/// Why what was detached, or a part of it, may not be touched.
std::string Planner::objection_to_any(const Detached& detached) const {
    std::string text = objection(detached);
    for (const Thing& part : detached.parts)
        if (text.empty())
            text = objection(part);
    return text;
}

void Planner::drop(const Thing& thing, std::uint32_t root, const std::string& object,
                   std::string reason, const std::string& blocked_by) {
    PlannedStep& step = add(Action::drop, thing, std::move(reason));
    step.root = root;
    step.object = object;
    step.blocked_by = blocked_by;
}

void Planner::drop_expired() {
    if (policy_.action != Expiry::drop)
        return;
    for (const Detached& detached : set_.quarantine) {
        if (!detached.at || base::add(*policy_.zone, *detached.at, policy_.grace) > now_)
            continue;
        const std::string reason = "was " + detached.former + ", detached at " +
                                   instant_text(*detached.at) + "; its grace is over";
        if (leave_held(detached, reason))
            continue;
        const std::string blocked_by = objection_to_any(detached);
        archive_all(detached, blocked_by);
        for (const Thing& part : detached.parts)
            drop(part, detached.relid, part.quoted,
                 "a partition of " + detached.quoted + ", which " + reason, blocked_by);
        drop(detached, detached.relid, detached.quoted, reason, blocked_by);
    }
}

std::string Planner::why_due(const Partition& partition) const {
    return "ends at " + base::bound_text(set_.kind, partition.range.upper) +
           ", and what is before " + base::bound_text(set_.kind, Bound::value(*horizon_)) +
           " is past its time";
}

/// CONCURRENTLY spares the set's readers and writers any wait, but the server does not always offer
/// it; and with foreign keys its last part would wait for locks on other tables without end.
std::string Planner::why_not_concurrently() const {
    if (set_.fallback)
        return "there is a default partition";
    if (!set_.references.empty() || !set_.referenced_by.empty())
        return "foreign keys make it lock other tables";
    if (set_.is_compressed)
        return "no event may come while it is detached that is not compressed";
    if (set_.is_archived)
        return "no row may come while it is detached that is not archived";
    if (set_.is_watched)
        return "no row may come while it is detached that is not in a rollup";
    return {};
}

/// A foreign key by which rows of another table need rows of the partition, or may need them. One
/// that can be mended comes before one that mends itself.
const ForeignKey* Planner::referenced_by(const Partition& partition) const {
    const ForeignKey* passing = nullptr;
    for (const ForeignKey& key : set_.referenced_by) {
        if (key.remedy.empty() && !world_.is_referenced(partition, key))
            continue;
        if (!key.in_quarantine || !key.remedy.empty())
            return &key;
        passing = &key;
    }
    return passing;
}

/// Whether referenced rows wait for others that are about to go. Those in quarantine may still come
/// back.
bool Planner::leave_referenced(const Partition& partition, const std::string& reason) {
    if (!partition.stranger.empty())
        return false;
    const ForeignKey* const key = referenced_by(partition);
    if (!key || !key->in_quarantine || !key->remedy.empty())
        return false;
    PlannedStep& step = add(Action::leave, partition, reason);
    step.waits = true;
    step.blocked_by = "rows of " + key->table +
                      ", which waits in quarantine, reference it by foreign key " + key->name;
    return true;
}

/// Whether the rows of a partition wait to become counts and samples. A stranger's table is not
/// looked into: it is not taken anyway.
bool Planner::leave_uncompressed(const Partition& partition, const std::string& reason) {
    if (!set_.is_compressed || !partition.stranger.empty() || !world_.awaits_compression(partition))
        return false;
    PlannedStep& step = add(Action::leave, partition, reason);
    step.waits = true;
    step.blocked_by = "its rows have yet to be compressed by the event compression policy";
    return true;
}

/// Whether rows of a partition wait to be moved into an archive; likewise.
bool Planner::leave_unarchived(const Partition& partition, const std::string& reason) {
    if (!set_.is_archived || !partition.stranger.empty())
        return false;
    const std::optional<std::int64_t> job = world_.awaits_archive(partition);
    if (!job)
        return false;
    PlannedStep& step = add(Action::leave, partition, reason);
    step.waits = true;
    step.blocked_by = "rows of it have yet to be archived by job " + std::to_string(*job);
    return true;
}

/// Whether the rows of a partition wait to be part of a rollup.
bool Planner::leave_unread(const Partition& partition, const std::string& reason) {
    const std::string jobs = set_.is_watched ? world_.awaited_by(partition) : "";
    if (jobs.empty())
        return false;
    PlannedStep& step = add(Action::leave, partition, reason);
    step.waits = true;
    step.blocked_by = "its rows have yet to be computed for a rollup, by " + jobs;
    return true;
}

/// Without a grace nothing is gained by a quarantine, except where the server drops no partition
/// that others reference, where rows have to be searched for held ones without keeping people
/// waiting, where parts are dropped one by one, and where rows go into files, for which they are
/// kept as they are.
bool Planner::goes_in_one_step(const Partition& partition) const {
    return has_no_grace() && policy_.directory.empty() && set_.referenced_by.empty() &&
           partition.holds.empty() && !partition.has_parts;
}

void Planner::take(const Partition& partition) {
    const std::string why = why_due(partition);
    if (leave_held(partition, why) || leave_uncompressed(partition, why) ||
        leave_unarchived(partition, why) || leave_unread(partition, why) ||
        leave_referenced(partition, why))
        return;
    const std::string not_concurrently = why_not_concurrently();
    const bool removes = goes_in_one_step(partition);
    PlannedStep& step = add(removes ? Action::remove : Action::detach, partition, why);
    if (removes)
        step.reason += "; the policy has no grace";
    step.reason +=
        not_concurrently.empty()
            ? std::string("; a background worker detaches it concurrently") +
                  (removes ? " first" : "") + ", CALL " + (removes ? "drops it " : "") +
                  "within the lock budget"
            : "; within the lock budget and not concurrently, because " + not_concurrently;
    step.range = partition.range;
    step.exact_lower = partition.exact_lower;
    step.exact_upper = partition.exact_upper;
    for (const Hold& hold : partition.holds)
        step.searched_for.push_back(hold.id);
    step.survivor = newest_->relid;
    step.concurrently = not_concurrently.empty();
    step.blocked_by = objection(partition);
    const ForeignKey* const key = step.blocked_by.empty() ? referenced_by(partition) : nullptr;
    if (key && !key->remedy.empty())
        step.blocked_by = "it cannot be seen whether rows of " + key->table +
                          " reference it by foreign key " + key->name + ": " + key->remedy;
    else if (key)
        step.blocked_by = "rows of " + key->table + " reference it by foreign key " + key->name +
                          ": delete those first, or give " + key->table +
                          " a retention policy of its own";
    if (removes && step.blocked_by.empty())
        if (const std::string dependents = world_.dependents(partition); !dependents.empty())
            step.blocked_by = needed_by(dependents);
    // Parts of its own are dropped one by one, which the next run plans.
    const bool at_once = has_no_grace() && !partition.has_parts && !removes;
    if (at_once && step.blocked_by.empty()) {
        archive(partition, partition.relid, partition.quarantined, {});
        drop(partition, partition.relid, partition.quarantined,
             "was " + partition.quoted + "; the policy has no grace", {});
    }
}

void Planner::take_due() {
    for (const Partition& partition : set_.partitions) {
        if (partition.detach_pending || !is_due(partition, horizon_))
            continue;
        if (&partition == newest_)
            add(Action::leave, partition,
                why_due(partition) + "; the newest partition always stays");
        else
            take(partition);
    }
}

void Planner::reinstate() {
    for (const Partition& partition : set_.partitions) {
        const bool is_wanted =
            std::any_of(steps_.begin(), steps_.end(), [&](const PlannedStep& step) {
                return step.relid == partition.relid && step.action != Action::leave;
            });
        if (partition.renamed && !is_wanted)
            add(Action::reinstate, partition,
                "a run was interrupted before it had detached it, and it is not to be detached any "
                "more");
    }
}

void Planner::explain_fallback() {
    if (set_.fallback)
        add(Action::leave, *set_.fallback,
            "the default partition has no bounds that say how old its rows are: it is left alone");
}

void Planner::announce() {
    if (policy_.announced)
        return;
    const auto count = std::count_if(steps_.begin(), steps_.end(), [](const PlannedStep& step) {
        return takes_partition(step.action) && step.blocked_by.empty();
    });
    if (count == 0)
        return;
    Thing set;
    set.relid = set_.relid;
    set.quoted = set_.quoted;
    const char* const fate =
        policy_.action == Expiry::detach ? "kept in quarantine"
        : has_no_grace()
            ? "dropped at once"
            : "dropped after the grace, in which orchestry.reattach() brings them back";
    add(Action::announce, set,
        "the first removal by this policy: " + std::to_string(count) +
            (count == 1 ? " partition is" : " partitions are") + " to be detached and " + fate);
    std::rotate(steps_.begin(), steps_.end() - 1, steps_.end());
}

} // namespace

std::vector<PlannedStep> plan(const Set& set, const Policy& policy, base::Instant now,
                              const World& world) {
    return Planner(set, policy, now, world).all();
}

std::optional<base::Instant> quiet_until(const Set& set, const Policy& policy, base::Instant now) {
    if (!std::holds_alternative<base::Span>(policy.keep))
        return std::nullopt;
    base::Instant until = base::end_instant;
    const std::optional<std::int64_t> end = horizon(set, policy, now);
    const Bound here = Bound::value(base::position_at(set.kind, *policy.zone, now));
    for (const Partition& partition : set.partitions) {
        // What is due already is kept by a hold, or by being the newest: the clock changes nothing
        // about that.
        if (partition.range.upper.kind != Bound::Kind::value || is_due(partition, end))
            continue;
        // All that ends after now is as good as ending now, and needs no sums with times far ahead.
        const Bound upper = std::min(partition.range.upper, here);
        until = std::min(until, base::plus(due_at(set, policy, upper), -calendar_slack_us));
    }
    for (const Detached& detached : set.quarantine) {
        if (!detached.at || policy.action != Expiry::drop)
            continue;
        const base::Instant due = base::add(*policy.zone, *detached.at, policy.grace);
        if (due > now)
            until = std::min(until, due);
    }
    return until;
}

std::string clock_veto(base::Instant next_due, base::Instant now, std::int64_t job_id) {
    const std::int64_t late_us = base::saturating_subtract(now.us, next_due.us);
    if (late_us <= clock_leap_us)
        return {};
    return "the clock says that the job is " + std::to_string(late_us / base::us_per_day) +
           " days late: if the clock is right, SELECT orchestry.resume_job(" +
           std::to_string(job_id) + ");";
}

} // namespace orchestry::retention
