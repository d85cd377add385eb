#include "partition/plan.hpp"

#include "base/arith.hpp"
#include "base/civil.hpp"
#include "base/hash.hpp"

#include <algorithm>
#include <limits>
#include <set>

namespace orchestry::partition {

namespace {

/// Local arithmetic can give an earlier result for a later instant by as much as a clock is set
/// back.
constexpr std::int64_t clock_set_back_us = 3 * base::us_per_hour;
/// Statistics of a set whose rows change are renewed this often.
constexpr std::int64_t analyze_interval_us = base::us_per_day;

/// Between two `quote`s, and each one inside doubled: an identifier or a literal for SQL that
/// people run.
std::string quoted(const std::string& text, char quote) {
    std::string result(1, quote);
    for (const char c : text) {
        if (c == quote)
            result += c;
        result += c;
    }
    return result + quote;
}

} // namespace

base::Span default_ahead(const base::Step& every) {
    constexpr std::int32_t days = 7;
    constexpr std::int32_t steps = default_ahead_steps;
    if (every.months > 0)
        return {every.months * steps, 0, 0};
    if (every.days > 0)
        return {0, std::max(every.days * steps, days), 0};
    return {0, 0, std::max(every.us * steps, days * base::us_per_day)};
}

void check_step(KeyKind kind, const base::Step& every) {
    if (every.us == 0 || every.us % unit_us(kind) == 0)
        return;
    const bool is_date = kind == KeyKind::date;
    throw base::Error(base::errc::invalid_parameter,
                      "\"every\" must be whole " +
                          std::string(is_date                    ? "days"
                                      : kind == KeyKind::epoch_s ? "seconds"
                                                                 : "milliseconds") +
                          " for this partition key, not " + base::to_string(every))
        .detail(is_date ? "A date has no time of day."
                        : "The key counts them, so no partition can end in between.")
        .hint(is_date ? "Use an interval such as '1 day' or '1 month'."
                      : "Use an interval such as '1 hour' or '1 day'.");
}

// --- the grid -----------------------------------------------------------------------------------

namespace {

using AnyGrid = std::variant<base::Grid, base::IntegerGrid>;

AnyGrid plain_grid(const Set& set, const Policy& policy) {
    if (const auto* keys = std::get_if<KeyCadence>(&policy.cadence))
        return base::IntegerGrid(keys->every);
    return base::Grid(axis_zone(set.kind, *policy.zone),
                      std::get<TimeCadence>(policy.cadence).every);
}

AnyGrid anchored_grid(const Set& set, const Policy& policy, std::int64_t anchor) {
    if (const auto* keys = std::get_if<KeyCadence>(&policy.cadence))
        return base::IntegerGrid(keys->every, anchor);
    return base::Grid(axis_zone(set.kind, *policy.zone),
                      std::get<TimeCadence>(policy.cadence).every, instant_of(set.kind, anchor));
}

/// The newest partition between two positions that a grid can be anchored at.
const Member* newest_bounded(const Set& set) {
    for (auto member = set.members.rbegin(); member != set.members.rend(); ++member)
        if (member->range.lower.kind == Bound::Kind::value &&
            member->range.upper.kind == Bound::Kind::value && !member->detach_pending)
            return member->exact_upper.empty() && member->exact_lower.empty() ? &*member : nullptr;
    return nullptr;
}

} // namespace

Ruler::Ruler(const Set& set, const Policy& policy)
    : kind_(set.kind), grid_(plain_grid(set, policy)) {
    const Member* const newest = newest_bounded(set);
    if (!newest || !reaches(newest->range.lower) || !reaches(newest->range.upper))
        return;
    AnyGrid grid = anchored_grid(set, policy, newest->range.upper.at);
    std::swap(grid_, grid);
    if (!is_interval(newest->range))
        std::swap(grid_, grid);
}

std::int64_t Ruler::floor(std::int64_t position) const {
    if (const auto* keys = std::get_if<base::IntegerGrid>(&grid_))
        return keys->floor(position);
    return position_of(kind_, std::get<base::Grid>(grid_).floor(instant_of(kind_, position)));
}

std::int64_t Ruler::next(std::int64_t position) const {
    if (const auto* keys = std::get_if<base::IntegerGrid>(&grid_))
        return keys->next(position);
    return position_of(kind_, std::get<base::Grid>(grid_).next(instant_of(kind_, position)));
}

bool Ruler::reaches(const Bound& bound) const {
    if (bound.kind != Bound::Kind::value)
        return false;
    if (const auto* keys = std::get_if<base::IntegerGrid>(&grid_))
        return bound.at >= base::lowest_position + keys->step() &&
               bound.at <= base::highest_position - keys->step();
    constexpr std::int64_t first_us = base::days_from_civil({1, 1, 1}) * base::us_per_day;
    constexpr std::int64_t last_us = base::days_from_civil({100'000, 1, 1}) * base::us_per_day;
    const std::int64_t us = instant_of(kind_, bound.at).us;
    return first_us <= us && us <= last_us;
}

bool Ruler::is_interval(const Range& range) const {
    return reaches(range.lower) && reaches(range.upper) &&
           floor(range.lower.at) == range.lower.at && next(range.lower.at) == range.upper.at;
}

base::LocalTime Ruler::label(std::int64_t position) const {
    return std::get<base::Grid>(grid_).label(instant_of(kind_, position));
}

std::string Ruler::name(const std::string& table, const base::NamePattern& pattern,
                        const Range& range) const {
    if (std::holds_alternative<base::IntegerGrid>(grid_))
        return pattern.render(table, range.lower.at, range.upper.at);
    return pattern.render(table, label(range.lower.at));
}

std::int64_t here(const Set& set, const Policy& policy, base::Instant now) {
    if (set.kind == KeyKind::integer) {
        if (set.position)
            return *set.position;
        const bool starts =
            !set.members.empty() && set.members.front().range.lower.kind == Bound::Kind::value;
        return starts ? set.members.front().range.lower.at : 0;
    }
    return base::position_at(set.kind, *policy.zone, now);
}

Range wanted(const Set& set, const Policy& policy, const Ruler& ruler, base::Instant now) {
    const std::int64_t at = here(set, policy, now);
    std::int64_t first = 0;
    std::int64_t last = 0;
    if (const auto* keys = std::get_if<KeyCadence>(&policy.cadence)) {
        first = std::max(base::saturating_subtract(at, keys->past), set.lowest);
        last = std::min(base::saturating_add(at, keys->ahead), set.highest);
    } else {
        const auto& time = std::get<TimeCadence>(policy.cadence);
        const base::Zone& zone = axis_zone(set.kind, *policy.zone);
        const base::Instant instant = instant_of(set.kind, at);
        first = position_of(set.kind, base::subtract(zone, instant, time.past));
        last = position_of(set.kind, base::add(zone, instant, time.ahead));
    }
    Range wanted{Bound::value(std::max(ruler.floor(first), set.lowest)),
                 Bound::value(ruler.next(last))};
    // A part of that interval which a partition separates from `first` is past what the policy asks
    // for.
    for (const Member& member : set.members)
        if (member.range.lower <= Bound::value(first))
            wanted.lower =
                std::max(wanted.lower,
                         member.range.contains(first) ? member.range.lower : member.range.upper);
    return wanted;
}

// --- the plan -----------------------------------------------------------------------------------

const char* to_string(Action action) {
    switch (action) {
    case Action::finalize_detach:
        return "finalize_detach";
    case Action::exclude_default:
        return "exclude_default";
    case Action::validate_default:
        return "validate_default";
    case Action::create:
        return "create";
    case Action::drop_exclusion:
        return "drop_exclusion";
    case Action::analyze:
        return "analyze";
    case Action::leave:
        break;
    }
    return "leave";
}

std::string range_condition(const Set& set, const PlannedStep& step) {
    std::string condition =
        set.key + " >= " + bound_sql(set.kind, step.range.lower, step.exact_lower);
    if (step.range.upper.kind == Bound::Kind::value)
        condition +=
            " AND " + set.key + " < " + bound_sql(set.kind, step.range.upper, step.exact_upper);
    return condition;
}

namespace {

std::string check_name(const char* purpose, KeyKind kind, const Range& range) {
    std::uint64_t hash =
        base::fnv1a64(bound_text(kind, range.lower) + " " + bound_text(kind, range.upper));
    std::string name = std::string(check_prefix) + purpose;
    for (int digit = 0; digit < 16; ++digit) {
        name += "0123456789abcdef"[hash >> 60];
        hash <<= 4;
    }
    return name;
}

} // namespace

std::string exclusion_name(KeyKind kind, const Range& range) {
    return check_name("without_", kind, range);
}

std::string inclusion_name(KeyKind kind, const Range& range) {
    return check_name("only_", kind, range);
}

namespace {

/// A gap: positions that no partition covers, between two that are covered or wanted.
struct Gap {
    Range range;
    bool wanted = false; // the policy asks for it; otherwise it just lies between partitions
};

class Planner {
  public:
    Planner(const Set& set, const Policy& policy, base::Instant now, const World& world,
            std::optional<std::int64_t> floor)
        : set_(set), policy_(policy), now_(now), world_(world), floor_(floor), ruler_(set, policy),
          here_(here(set, policy, now)), wanted_(wanted(set, policy, ruler_, now)) {}

    std::vector<PlannedStep> all();
    std::vector<PlannedStep> one(std::int64_t position);
    PlannedStep promotion();
    std::int64_t count_wanted(std::int64_t limit) const;
    Bound covered_until() const;
    std::optional<base::Instant> next_need() const;
    std::vector<Range> gaps_to_fill() const;

  private:
    std::vector<Gap> gaps() const;
    void add_gap(std::vector<Gap>& gaps, const Range& range) const;
    bool is_fillable(const Range& range) const;
    bool fills(const Range& range) const;
    std::vector<Range> pieces(const Range& range, std::int64_t limit) const;
    Range piece_at(std::int64_t position) const;
    const Member* member_at(std::int64_t position) const;

    void finalize_detaches();
    void create_pieces();
    void create(const Range& piece, const std::string& reason);
    PlannedStep piece_step(const Range& piece) const;
    void prepare_default(PlannedStep& step);
    void drop_exclusions();
    void explain_maxvalue();
    void analyze();

    std::string reason_for(const Range& piece, bool is_wanted) const;
    std::string choose_name(const Range& piece, std::string& blocked_by) const;
    std::string default_rows_fix(const PlannedStep& step) const;
    void leave(const Range& range, std::string reason, std::string blocked_by = {});

    const Set& set_;
    const Policy& policy_;
    const base::Instant now_;
    const World& world_;
    const std::optional<std::int64_t> floor_;
    const Ruler ruler_;
    const std::int64_t here_;
    const Range wanted_;

    std::vector<PlannedStep> steps_;
    std::set<std::string> names_;      // of partitions planned so far
    std::set<std::string> exclusions_; // that planned steps need
};

std::vector<PlannedStep> Planner::all() {
    finalize_detaches();
    create_pieces();
    explain_maxvalue();
    drop_exclusions();
    analyze();
    return std::move(steps_);
}

std::vector<PlannedStep> Planner::one(std::int64_t position) {
    if (member_at(position))
        return {};
    create(piece_at(position), "asked for");
    if (steps_.empty() || !steps_.back().range.contains(position))
        throw base::Error(base::errc::datetime_overflow,
                          "key " + bound_text(set_.kind, Bound::value(position)) +
                              " is out of range for the partitions of " + set_.quoted)
            .detail("It means a time that the calendar does not reach.")
            .hint("See SELECT * FROM orchestry.timeline(" + quoted(set_.quoted, '\'') + ");");
    return std::move(steps_);
}

PlannedStep Planner::promotion() {
    PlannedStep step;
    step.action = Action::create;
    if (!set_.fallback->stranger.empty()) {
        step.blocked_by = set_.fallback->stranger;
        return step;
    }
    if (world_.has_foreign_table(set_.fallback->relid)) {
        step.blocked_by = "it is, or has, a foreign table, whose rows the server does not check";
        return step;
    }
    const std::optional<Extent> extent = world_.default_extent();
    if (!extent) {
        step.blocked_by =
            "it is empty, or has a row that no range can take: a NULL key or an infinite one";
        return step;
    }
    if (const Member* const member = member_at(extent->least)) {
        step.blocked_by = "its least key belongs to " + member->quoted;
        return step;
    }
    step = piece_step(piece_at(extent->least));
    if (!step.range.contains(extent->greatest))
        step.blocked_by = "its rows do not fit one partition: the least key is " +
                          bound_text(set_.kind, Bound::value(extent->least)) + ", the greatest " +
                          bound_text(set_.kind, Bound::value(extent->greatest));
    return step;
}

const Member* Planner::member_at(std::int64_t position) const {
    const auto found =
        std::find_if(set_.members.begin(), set_.members.end(),
                     [&](const Member& member) { return member.range.contains(position); });
    return found == set_.members.end() ? nullptr : &*found;
}

void Planner::add_gap(std::vector<Gap>& gaps, const Range& range) const {
    // The wanted part of a gap is treated on its own: it is neither too long nor too old.
    const Range inner{std::max(range.lower, wanted_.lower), std::min(range.upper, wanted_.upper)};
    if (!(inner.lower < inner.upper)) {
        if (range.lower < range.upper)
            gaps.push_back({range, false});
        return;
    }
    if (range.lower < inner.lower)
        gaps.push_back({{range.lower, inner.lower}, false});
    gaps.push_back({inner, true});
    if (inner.upper < range.upper)
        gaps.push_back({{inner.upper, range.upper}, false});
}

/// All that lies between the partitions, and between them and what is wanted.
std::vector<Gap> Planner::gaps() const {
    std::vector<Gap> gaps;
    Bound covered = wanted_.lower;
    if (!set_.members.empty())
        covered = std::min(covered, set_.members.front().range.lower);
    for (const Member& member : set_.members) {
        add_gap(gaps, {covered, member.range.lower});
        covered = std::max(covered, member.range.upper);
    }
    add_gap(gaps, {covered, wanted_.upper});
    return gaps;
}

bool Planner::is_fillable(const Range& range) const {
    return ruler_.reaches(range.lower) && ruler_.reaches(range.upper) &&
           pieces(range, max_gap_pieces + 1).size() <= static_cast<std::size_t>(max_gap_pieces);
}

/// The parts that the grid cuts a range into: the first `limit` of them.
std::vector<Range> Planner::pieces(const Range& range, std::int64_t limit) const {
    std::vector<Range> pieces;
    Bound lower = range.lower;
    while (lower < range.upper && static_cast<std::int64_t>(pieces.size()) < limit) {
        const Bound upper = std::min(Bound::value(ruler_.next(lower.at)), range.upper);
        pieces.push_back({lower, upper});
        lower = upper;
    }
    return pieces;
}

/// The grid interval around a position that is not covered, cut where partitions begin.
Range Planner::piece_at(std::int64_t position) const {
    Range piece{Bound::value(std::max(ruler_.floor(position), set_.lowest)),
                Bound::value(ruler_.next(position))};
    for (const Member& member : set_.members) {
        if (member.range.upper <= Bound::value(position))
            piece.lower = std::max(piece.lower, member.range.upper);
        else
            piece.upper = std::min(piece.upper, member.range.lower);
    }
    return piece;
}

std::int64_t Planner::count_wanted(std::int64_t limit) const {
    std::int64_t count = 0;
    for (const Gap& gap : gaps())
        if (gap.wanted)
            count += static_cast<std::int64_t>(pieces(gap.range, limit - count).size());
    return count;
}

/// Where the cover of what is wanted ends.
Bound Planner::covered_until() const {
    Bound covered = wanted_.lower;
    for (const Member& member : set_.members)
        if (member.range.lower <= covered)
            covered = std::max(covered, member.range.upper);
    return covered;
}

std::optional<base::Instant> Planner::next_need() const {
    const auto* const time = std::get_if<TimeCadence>(&policy_.cadence);
    const Bound covered = covered_until();
    if (!time || !ruler_.reaches(covered))
        return std::nullopt;
    const base::Zone& zone = axis_zone(set_.kind, *policy_.zone);
    const base::Instant end = instant_of(set_.kind, covered.at);
    // The other way round than adding: microseconds, days, months. So it comes out where now +
    // ahead reaches the end for the first time, or before that when the end is a day that the month
    // of now does not have.
    const base::Instant due =
        base::subtract(zone,
                       base::subtract(zone, base::subtract(zone, end, {0, 0, time->ahead.us}),
                                      {0, time->ahead.days, 0}),
                       {time->ahead.months, 0, 0});
    return is_wall_clock(set_.kind) ? base::to_instant(*policy_.zone, base::LocalTime{due.us})
                                    : due;
}

/// Whether any part of a gap between partitions gets one.
bool Planner::fills(const Range& range) const {
    // Ahead, the end of the runway is not yet a gap because of what lies far behind it.
    if (Bound::value(here_) < range.lower && !is_fillable(range))
        return false;
    std::vector<Gap> parts;
    add_gap(parts, range);
    return std::any_of(parts.begin(), parts.end(), [&](const Gap& gap) {
        const bool is_retained = !floor_ || Bound::value(*floor_) < gap.range.upper;
        return is_retained && (gap.wanted || is_fillable(gap.range));
    });
}

std::vector<Range> Planner::gaps_to_fill() const {
    std::vector<Range> found;
    std::optional<Bound> covered;
    for (const Member& member : set_.members) {
        if (member.detach_pending)
            continue;
        if (covered && *covered < member.range.lower && fills({*covered, member.range.lower}))
            found.push_back({*covered, member.range.lower});
        covered = member.range.upper;
    }
    return found;
}

void Planner::leave(const Range& range, std::string reason, std::string blocked_by) {
    PlannedStep step;
    step.action = Action::leave;
    step.range = range;
    step.object = set_.quoted;
    step.reason = std::move(reason);
    step.blocked_by = std::move(blocked_by);
    steps_.push_back(std::move(step));
}

void Planner::finalize_detaches() {
    for (const Member& member : set_.members) {
        if (!member.detach_pending)
            continue;
        if (set_.retention_runs) {
            leave(member.range, "a run of retention is detaching " + member.quoted, {});
            continue;
        }
        PlannedStep step;
        step.action = Action::finalize_detach;
        step.range = member.range;
        step.relid = member.relid;
        step.object = member.quoted;
        step.reason = "DETACH CONCURRENTLY was interrupted: until it is completed, rows of this "
                      "range have no partition to go to";
        steps_.push_back(std::move(step));
    }
}

std::string Planner::reason_for(const Range& piece, bool is_wanted) const {
    std::string reason;
    if (piece.contains(here_))
        reason = "the current interval has no partition";
    else if (!is_wanted)
        reason = "gap between partitions";
    else
        reason = piece.lower > Bound::value(here_) ? "runway" : "the policy's past";
    return ruler_.is_interval(piece) ? reason : reason + "; cut to fit its neighbours";
}

void Planner::create_pieces() {
    struct Piece {
        Range range;
        bool wanted;
    };
    std::vector<Piece> all;
    for (const Gap& gap : gaps()) {
        if (!gap.wanted && !is_fillable(gap.range)) {
            leave(gap.range, "gap of more than " + std::to_string(max_gap_pieces) +
                                 " partitions, from " + bound_text(set_.kind, gap.range.lower) +
                                 " to " + bound_text(set_.kind, gap.range.upper) +
                                 ": it is not filled; where rows are to come, use "
                                 "orchestry.create_partition()");
            continue;
        }
        for (const Range& piece : pieces(gap.range, base::highest_position)) {
            if (floor_ && piece.upper <= Bound::value(*floor_)) {
                leave(piece, "gap that is past its retention: it is not filled");
                continue;
            }
            all.push_back({piece, gap.wanted});
        }
    }
    // What is written to first comes first: now and after, then backwards into the past.
    const auto is_past = [&](const Piece& piece) {
        return piece.range.upper <= Bound::value(here_);
    };
    const auto past = std::stable_partition(all.begin(), all.end(), std::not_fn(is_past));
    std::reverse(past, all.end());
    for (const Piece& piece : all)
        create(piece.range, reason_for(piece.range, piece.wanted));
}

void Planner::create(const Range& piece, const std::string& reason) {
    if (piece.lower > Bound::value(set_.highest))
        return; // the key's type ends before
    PlannedStep step = piece_step(piece);
    step.reason = reason;
    if (step.blocked_by.empty() && set_.fallback)
        prepare_default(step);
    names_.insert(step.name);
    steps_.push_back(std::move(step));
}

/// The step that makes the partition for a piece, as if there were no default partition.
PlannedStep Planner::piece_step(const Range& piece) const {
    PlannedStep step;
    step.action = Action::create;
    step.range = piece;
    if (piece.upper > Bound::value(set_.highest))
        step.range.upper = Bound::maxvalue();
    const auto after = std::lower_bound(
        set_.members.begin(), set_.members.end(), piece.upper,
        [](const Member& member, const Bound& bound) { return member.range.lower < bound; });
    if (after != set_.members.end() && after->range.lower == piece.upper)
        step.exact_upper = after->exact_lower;
    if (after != set_.members.begin() && std::prev(after)->range.upper == piece.lower)
        step.exact_lower = std::prev(after)->exact_upper;
    step.name = choose_name(piece, step.blocked_by);
    return step;
}

/// The policy's name for a piece. Where a part of an interval would get the name of the partition
/// beside it, its own start is added.
std::string Planner::choose_name(const Range& piece, std::string& blocked_by) const {
    const auto holder = [&](const std::string& name) -> std::optional<std::string> {
        if (names_.contains(name))
            return "another partition of this plan";
        return world_.holder_of(name);
    };
    const std::string name = ruler_.name(set_.name, policy_.names, piece);
    const auto taken_by = holder(name);
    if (!taken_by)
        return name;
    if (!ruler_.is_interval(piece)) {
        const auto pattern = base::NamePattern::parse(
            policy_.names.text() +
            (is_time(set_.kind) ? "_from_{YYYY}{MM}{DD}_{HH24}{MI}{SS}" : "_from_{from}"));
        std::string longer = ruler_.name(set_.name, pattern, piece);
        if (!holder(longer))
            return longer;
    }
    blocked_by = "the name " + quoted(name, '"') + " is taken by " + *taken_by +
                 "; rename that, or attach it if it has the rows of this range";
    return name;
}

/// Decides how the default partition lets the new one in.
void Planner::prepare_default(PlannedStep& step) {
    const DefaultPartition& fallback = *set_.fallback;
    if (!fallback.stranger.empty()) {
        step.blocked_by =
            "default partition " + fallback.quoted + " is not looked into: " + fallback.stranger;
        return;
    }
    // An ATTACH does not look into foreign tables, and rows in them that belong to the new
    // partition would not be seen by queries any more. Looking ourselves proves nothing: they can
    // come at any time, whatever we lock.
    if (world_.has_foreign_table(fallback.relid)) {
        step.blocked_by = "default partition " + fallback.quoted +
                          " is, or has, a foreign table, in which the server does not look for "
                          "rows of this range; make sure that there are none and none come, and "
                          "run the statements of this step by hand";
        return;
    }
    const std::string name = exclusion_name(set_.kind, step.range);
    const auto exclusion =
        std::find_if(fallback.exclusions.begin(), fallback.exclusions.end(),
                     [&](const Exclusion& candidate) { return candidate.name == name; });
    const bool exists = exclusion != fallback.exclusions.end();
    if (exists && exclusion->validated) {
        step.exclusion = name;
        exclusions_.insert(name);
        return;
    }
    const std::int64_t pages = world_.default_pages();
    if (pages > 0 && world_.default_has_rows(step)) {
        step.blocked_by = "default partition " + fallback.quoted + " holds rows in this range; " +
                          default_rows_fix(step);
        return;
    }
    if (pages <= small_default_pages)
        return;
    // While the range is kept out of the default partition its rows have nowhere to go. That harms
    // nobody only as long as none are written.
    if (step.range.lower < Bound::value(here_)) {
        step.blocked_by = "default partition " + fallback.quoted +
                          " is large, and attaching would scan it while nobody can use it; run "
                          "the statements of this step by hand at a quiet time";
        return;
    }
    step.exclusion = name;
    exclusions_.insert(name);
    PlannedStep before;
    before.range = step.range;
    before.relid = fallback.relid;
    before.object = fallback.quoted;
    before.exclusion = name;
    if (!exists) {
        before.action = Action::exclude_default;
        before.reason = "the default partition is large: it is to be checked without a strong lock "
                        "before the new partition is attached";
        steps_.push_back(before);
    }
    before.action = Action::validate_default;
    before.reason = "reads the default partition while others use it";
    steps_.push_back(std::move(before));
}

std::string Planner::default_rows_fix(const PlannedStep& step) const {
    const std::optional<Extent> extent = world_.default_extent();
    const std::string table = quoted(set_.quoted, '\'');
    if (extent && !member_at(extent->least) && piece_at(extent->least).contains(extent->greatest))
        return "all its rows fit one partition: CALL orchestry.promote_default(" + table + ");";
    const std::string copy = set_.schema + ".orchestry_moved_rows";
    return "move them: BEGIN; CREATE TABLE " + copy + " (LIKE " + set_.quoted +
           "); WITH moved AS (DELETE FROM " + set_.fallback->quoted + " WHERE " +
           range_condition(set_, step) + " RETURNING " + set_.columns + ") INSERT INTO " + copy +
           " (" + set_.columns + ") SELECT " + set_.columns +
           " FROM moved; SELECT orchestry.create_partition(" + table + ", " +
           bound_sql(set_.kind, step.range.lower, step.exact_lower) + "); INSERT INTO " +
           set_.quoted + " (" + set_.columns + ") OVERRIDING SYSTEM VALUE SELECT " + set_.columns +
           " FROM " + copy + "; DROP TABLE " + copy + "; COMMIT;";
}

void Planner::drop_exclusions() {
    if (!set_.fallback)
        return;
    for (const Exclusion& exclusion : set_.fallback->exclusions) {
        if (exclusions_.contains(exclusion.name))
            continue;
        PlannedStep step;
        step.action = Action::drop_exclusion;
        step.relid = set_.fallback->relid;
        step.object = set_.fallback->quoted;
        step.exclusion = exclusion.name;
        step.reason = "left over from an interrupted run: it keeps rows out of the default "
                      "partition that nothing else takes";
        // Rows are being refused now: this comes before anything that can wait.
        steps_.insert(steps_.begin(), std::move(step));
    }
}

void Planner::explain_maxvalue() {
    if (set_.members.empty())
        return;
    const Member& last = set_.members.back();
    if (last.range.upper != Bound::maxvalue() || last.detach_pending ||
        wanted_.upper <= last.range.lower)
        return;
    const std::string lower = bound_sql(set_.kind, last.range.lower);
    leave(
        last.range, last.quoted + " reaches to MAXVALUE, so nothing can be made above " + lower,
        "to end it, once it has no rows above the new end: ALTER TABLE " + set_.quoted +
            " DETACH PARTITION " + last.quoted + "; ALTER TABLE " + set_.quoted +
            " ATTACH PARTITION " + last.quoted + " FOR VALUES FROM (" + lower + ") TO (" +
            bound_sql(set_.kind, Bound::value(ruler_.next(std::max(here_, last.range.lower.at)))) +
            ");");
    steps_.back().relid = last.relid;
    steps_.back().object = last.quoted;
}

void Planner::analyze() {
    const Statistics& statistics = set_.statistics;
    if (!statistics.has_rows)
        return;
    const bool never = !statistics.analyzed_at;
    const bool stale =
        !never && statistics.changed && now_.us - statistics.analyzed_at->us >= analyze_interval_us;
    if (!never && !stale)
        return;
    PlannedStep step;
    const bool foreign = statistics.cheap && world_.has_foreign_table(set_.relid);
    step.action = statistics.cheap && !foreign ? Action::analyze : Action::leave;
    step.object = set_.quoted;
    step.reason = never ? "the whole table was never analyzed, which autovacuum does not do"
                        : "rows changed since the whole table was analyzed more than a day ago, "
                          "which autovacuum does not do";
    if (step.action == Action::leave)
        step.reason += std::string(foreign ? "; it has foreign tables, which ANALYZE reads from "
                                             "their servers"
                                           : "; it is large, and ANALYZE reads or locks many "
                                             "partitions at once") +
                       ": run ANALYZE " + set_.quoted + "; at a quiet time";
    steps_.push_back(std::move(step));
}

/// For questions that depend on nothing outside the set.
class EmptyWorld : public World {
  public:
    std::optional<std::string> holder_of(const std::string&) const override { return std::nullopt; }
    std::int64_t default_pages() const override { return 0; }
    bool has_foreign_table(std::uint32_t) const override { return false; }
    bool default_has_rows(const PlannedStep&) const override { return false; }
    std::optional<Extent> default_extent() const override { return std::nullopt; }
};

} // namespace

std::vector<PlannedStep> plan(const Set& set, const Policy& policy, base::Instant now,
                              const World& world, std::optional<std::int64_t> floor) {
    return Planner(set, policy, now, world, floor).all();
}

std::vector<PlannedStep> plan_one(const Set& set, const Policy& policy, base::Instant now,
                                  const World& world, std::int64_t position) {
    return Planner(set, policy, now, world, std::nullopt).one(position);
}

PlannedStep plan_promotion(const Set& set, const Policy& policy, base::Instant now,
                           const World& world) {
    return Planner(set, policy, now, world, std::nullopt).promotion();
}

void check_size(const Set& set, const Policy& policy, base::Instant now) {
    const EmptyWorld nothing;
    const Planner planner(set, policy, now, nothing, std::nullopt);
    if (planner.count_wanted(max_wanted_pieces + 1) <= max_wanted_pieces)
        return;
    throw base::Error(base::errc::invalid_parameter,
                      "the policy for " + set.quoted + " would create more than " +
                          std::to_string(max_wanted_pieces) + " partitions")
        .detail("Every partition costs planning time and locks.")
        .hint("Use a longer \"every\", or a shorter \"past\" or \"ahead\".");
}

std::optional<base::Instant> next_need(const Set& set, const Policy& policy, base::Instant now) {
    const EmptyWorld nothing;
    return Planner(set, policy, now, nothing, std::nullopt).next_need();
}

std::vector<Range> gaps_to_fill(const Set& set, const Policy& policy, base::Instant now,
                                std::optional<std::int64_t> floor) {
    const EmptyWorld nothing;
    return Planner(set, policy, now, nothing, floor).gaps_to_fill();
}

std::optional<base::Instant> quiet_until(const Set& set, const Policy& policy, base::Instant now) {
    if (!is_time(set.kind))
        return std::nullopt;
    const std::optional<base::Instant> need = next_need(set, policy, now);
    return need ? base::plus(*need, -clock_set_back_us) : base::end_instant;
}

} // namespace orchestry::partition
