#include "retention/row_plan.hpp"

#include "base/arith.hpp"

#include <algorithm>

namespace orchestry::retention {

using base::Bound;
using base::Error;
namespace errc = base::errc;

namespace {

/// A leaf this small is searched at once, whatever there is to find in it.
constexpr std::int64_t small_pages = 1'280; // 10 MB
/// Up to this share of a leaf's rows is fetched by an index; more is swept up block by block.
constexpr std::int64_t index_share_percent = 5;

bool is_small(const Leaf& leaf) { return leaf.pages <= small_pages; }

/// Whether a kind's positions are numbers as users write them, of which those after 0 are times.
bool is_number(base::KeyKind kind) {
    using base::KeyKind;
    return kind == KeyKind::epoch_s || kind == KeyKind::epoch_ms || kind == KeyKind::epoch_us ||
           kind == KeyKind::epoch_ns;
}

std::string horizon_text(const RowPolicy& policy, std::int64_t horizon) {
    return base::bound_text(policy.kind, Bound::value(horizon));
}

} // namespace

std::int64_t row_horizon(const RowPolicy& policy, base::Instant now) {
    return base::horizon(policy.kind, *policy.zone, now, policy.keep);
}

void check_row_keep(const RowPolicy& policy, base::Instant now) {
    const base::Span& keep = policy.keep;
    if (keep.months == 0 && keep.days == 0 && keep.us < least_row_keep_us)
        throw Error(errc::invalid_parameter, "\"keep\" is shorter than a minute")
            .detail("Clocks of those who write rows need not agree to more than that.")
            .hint("Use an interval such as '90 days' or '1 year'.");
    try {
        (void)row_horizon(policy, now);
    } catch (const Error& error) {
        throw Error(error.sqlstate(), "\"keep\" goes further than time does")
            .hint("Use a shorter interval.");
    }
}

std::string guess_key_unit(double least, double greatest) {
    constexpr double year_1990_s = 631'152'000, year_2100_s = 4'102'444'800;
    constexpr struct {
        const char* name;
        double per_second;
    } units[] = {{"s", 1}, {"ms", 1e3}, {"us", 1e6}, {"ns", 1e9}};
    for (const auto& unit : units)
        if (least >= year_1990_s * unit.per_second && greatest < year_2100_s * unit.per_second)
            return unit.name;
    return {};
}

const char* to_string(RowAction action) {
    switch (action) {
    case RowAction::announce:
        return "announce";
    case RowAction::remove:
        return "delete_rows";
    case RowAction::archive:
        return "archive_rows";
    case RowAction::publish:
        return "publish";
    case RowAction::leave:
        break;
    }
    return "leave";
}

namespace {

class RowPlanner {
  public:
    RowPlanner(const RowTable& table, const RowPolicy& policy, base::Instant now,
               const RowWorld& world)
        : table_(table), policy_(policy), world_(world), horizon_(row_horizon(policy, now)) {}

    std::vector<PlannedRows> all();

  private:
    void look_at(const Leaf& leaf);
    void publish();
    void announce();
    bool is_too_young(const Leaf& leaf) const;
    bool is_known_to_be_done(const Leaf& leaf) const;
    RowRoute route(const Leaf& leaf) const;
    bool is_all_ours(const Leaf& leaf) const;
    bool is_past_as_a_whole(const Leaf& leaf) const;
    bool wait_to_move(const Leaf& leaf);
    const Leaf* newer_than(const Leaf& leaf) const;
    std::string why_not_whole(const Leaf& leaf) const;
    std::string what() const;
    std::string how(const Leaf& leaf) const;
    std::string objection(const Leaf& leaf) const;
    PlannedRows& add(RowAction action, const Leaf& leaf, std::string reason);

    const RowTable& table_;
    const RowPolicy& policy_;
    const RowWorld& world_;
    const std::int64_t horizon_;
    std::vector<PlannedRows> steps_;
};

PlannedRows& RowPlanner::add(RowAction action, const Leaf& leaf, std::string reason) {
    PlannedRows step;
    step.action = action;
    step.relid = leaf.relid;
    step.object = leaf.quoted;
    step.horizon = horizon_;
    step.reason = std::move(reason);
    steps_.push_back(std::move(step));
    return steps_.back();
}

std::vector<PlannedRows> RowPlanner::all() {
    publish();
    for (const Leaf& leaf : table_.leaves)
        look_at(leaf);
    announce();
    return std::move(steps_);
}

bool RowPlanner::is_too_young(const Leaf& leaf) const {
    return leaf.range && leaf.range->lower >= Bound::value(horizon_);
}

/// Whether a look into the leaf, where that is cheap, finds nothing to do. Elsewhere the batches
/// themselves are the look. Into a stranger's leaf nobody looks: reading it may run code of the
/// stranger, with the rights of the table's owner.
bool RowPlanner::is_known_to_be_done(const Leaf& leaf) const {
    if (!leaf.stranger.empty())
        return false;
    const bool is_cheap = is_small(leaf) || !leaf.time_index.empty();
    return is_cheap && !world_.has_past_row(leaf, horizon_);
}

/// Whether all that a leaf can have is what the policy moves into a table, sooner or later.
bool RowPlanner::is_all_ours(const Leaf& leaf) const {
    if (policy_.archive.empty() || !policy_.directory.empty() || !policy_.predicate.empty() ||
        policy_.keep_last > 0 || leaf.member == 0 || !leaf.range)
        return false;
    // What counts as no time lies before this, and stays.
    const std::int64_t no_time = is_number(policy_.kind) ? 0 : base::lowest_position;
    const Bound& lower = leaf.range->lower;
    return lower.kind == Bound::Kind::value && lower.at > no_time;
}

bool RowPlanner::is_past_as_a_whole(const Leaf& leaf) const {
    return is_all_ours(leaf) && leaf.range->upper <= Bound::value(horizon_);
}

/// A leaf of the newest partition, where that is another than the leaf's; nullptr: it is its own.
const Leaf* RowPlanner::newer_than(const Leaf& leaf) const {
    const Leaf* newest = nullptr;
    for (const Leaf& other : table_.leaves)
        if (other.range && other.range->lower >= leaf.range->upper &&
            (!newest || *newest->range < *other.range))
            newest = &other;
    return newest;
}

/// What keeps a leaf from moving as a whole, whatever its time; empty: nothing.
std::string RowPlanner::why_not_whole(const Leaf& leaf) const {
    if (!table_.not_whole.empty())
        return table_.not_whole;
    // Of its values only some are times.
    if (policy_.kind == base::KeyKind::uuid_v7)
        return "not every uuid has a time";
    if (leaf.member != leaf.relid)
        return "it is a part of a partition";
    return leaf.not_whole;
}

/// Where a leaf can move as a whole but is not to yet, the archive has no place for single rows.
bool RowPlanner::wait_to_move(const Leaf& leaf) {
    if (!is_all_ours(leaf) || route(leaf) == RowRoute::whole || !why_not_whole(leaf).empty())
        return false;
    add(RowAction::leave, leaf,
        what() + (is_past_as_a_whole(leaf) ? "; it moves as a whole when there is a newer partition"
                                           : "; it moves as a whole when all of it is"));
    return true;
}

RowRoute RowPlanner::route(const Leaf& leaf) const {
    if (!policy_.directory.empty())
        return RowRoute::index;
    if (is_past_as_a_whole(leaf) && newer_than(leaf) && why_not_whole(leaf).empty())
        return RowRoute::whole;
    const bool is_small_share = base::saturating_multiply(leaf.past_rows, 100) <=
                                base::saturating_multiply(leaf.rows, index_share_percent);
    return !leaf.time_index.empty() && !is_small(leaf) && is_small_share ? RowRoute::index
                                                                         : RowRoute::walk;
}

std::string RowPlanner::what() const {
    std::string text =
        "rows with " + policy_.time_column + " before " + horizon_text(policy_, horizon_);
    if (!policy_.predicate.empty())
        text += " that meet " + policy_.predicate;
    text += " are past their time";
    if (policy_.keep_last > 0)
        text += ", but for the newest " + std::to_string(policy_.keep_last) + " of each group";
    return text;
}

std::string RowPlanner::how(const Leaf& leaf) const {
    if (route(leaf) == RowRoute::whole)
        return "; it moves as a whole, detached here and attached there in one transaction";
    std::string text = "; batches ";
    if (!policy_.directory.empty())
        text += "go in the order of " + policy_.time_column + ", each into a file of its own";
    else if (route(leaf) == RowRoute::index)
        text += "follow index " + leaf.time_index + ", because few rows go";
    else if (is_small(leaf))
        text += "go through the whole table, which is small";
    else if (!leaf.time_index.empty())
        text += "go through the whole table, because many rows go";
    else
        text += "go through the whole table, because no index leads with " + policy_.time_column +
                ": " + table_.time_index_sql;
    if (is_past_as_a_whole(leaf))
        text += "; it does not move as a whole, because " + why_not_whole(leaf);
    if (!leaf.claimed_by.empty())
        text += "; those stay that are for " + leaf.claimed_by;
    for (const std::string& sql : table_.foreign_key_indexes_sql)
        text +=
            "; every row deleted searches a table that references it, for want of an index: " + sql;
    return text;
}

std::string RowPlanner::objection(const Leaf& leaf) const {
    if (!policy_.veto.empty())
        return policy_.veto;
    if (!leaf.strangers_table.empty())
        return "the newest rows of each group would be looked for in " + leaf.strangers_table +
               ", which belongs to role " + leaf.stranger + ": ALTER TABLE " +
               leaf.strangers_table + " OWNER TO " + table_.owner + ";";
    if (!leaf.stranger.empty())
        return "it belongs to role " + leaf.stranger + ": ALTER TABLE " + leaf.quoted +
               " OWNER TO " + table_.owner + ";";
    if (!policy_.archive.empty() && !table_.cascade.empty())
        return table_.cascade;
    if (!policy_.archive.empty() && !leaf.rule.empty())
        return leaf.rule;
    if (!leaf.lost_along.empty())
        return leaf.lost_along;
    if (!table_.keep_last_index_sql.empty() && !is_small(leaf))
        return "the newest rows of each group cannot be found without an index: " +
               table_.keep_last_index_sql;
    if (!policy_.directory.empty() && leaf.time_index.empty() && !is_small(leaf))
        return "rows go into files in the order of their time, for which an index is missing: " +
               table_.time_index_sql;
    return {};
}

void RowPlanner::look_at(const Leaf& leaf) {
    if (leaf.is_foreign) {
        add(RowAction::leave, leaf, "a foreign table: its rows are left alone");
        return;
    }
    // A partition without rows moves too: it would be left behind between others' times.
    const bool moves = route(leaf) == RowRoute::whole;
    if (!moves && (leaf.pages == 0 || is_too_young(leaf)))
        return;
    if (leaf.leaves_whole && policy_.archive.empty()) {
        add(RowAction::leave, leaf, "the table's policy for partitions takes it as a whole");
        return;
    }
    if (!moves && is_known_to_be_done(leaf))
        return;
    if (!leaf.held.empty()) { // held data is meant to stay: that it does is no failure of the run
        add(RowAction::leave, leaf, what()).blocked_by = leaf.held;
        return;
    }
    if (wait_to_move(leaf))
        return;
    const RowAction action = policy_.archive.empty() ? RowAction::remove : RowAction::archive;
    PlannedRows& step = add(action, leaf, what() + how(leaf));
    step.route = route(leaf);
    step.rows = leaf.past_rows;
    step.blocked_by = objection(leaf);
    if (step.route == RowRoute::whole) {
        step.range = *leaf.range;
        step.survivor = newer_than(leaf)->member;
    }
}

void RowPlanner::publish() {
    if (policy_.unnamed_file_of.empty())
        return;
    Leaf table;
    table.relid = table_.relid;
    table.quoted = table_.quoted;
    add(RowAction::publish, table,
        "a file with rows of " + policy_.unnamed_file_of + " is complete and gets its name");
}

void RowPlanner::announce() {
    if (policy_.announced)
        return;
    std::int64_t rows = 0;
    bool is_any = false;
    for (const PlannedRows& step : steps_)
        if (is_destructive(step.action) && step.blocked_by.empty()) {
            is_any = true;
            rows = base::saturating_add(rows, step.rows);
        }
    if (!is_any)
        return;
    Leaf table;
    table.relid = table_.relid;
    table.quoted = table_.quoted;
    add(RowAction::announce, table,
        "the first removal by this policy: " + what() + "; they are to be " +
            (policy_.archive.empty() ? "deleted for good" : "moved to " + policy_.archive))
        .rows = rows;
    std::rotate(steps_.begin(), steps_.end() - 1, steps_.end());
}

} // namespace

std::vector<PlannedRows> plan_rows(const RowTable& table, const RowPolicy& policy,
                                   base::Instant now, const RowWorld& world) {
    return RowPlanner(table, policy, now, world).all();
}

} // namespace orchestry::retention
