// What should be done about one partitioned table, decided from plain facts: no catalog, no lock,
// no clock of its own. The same decision is shown by orchestry.plan() and carried out by a run.
//
// Words: a set is a partitioned table with its partitions; a position is a point on the key's axis;
// a grid interval is what one partition of the policy's step should cover; a piece is a part of a
// grid interval that no partition covers yet.
#pragma once

#include "base/grid.hpp"
#include "base/integer_grid.hpp"
#include "base/name_pattern.hpp"
#include "base/partition_key.hpp"
#include "base/step.hpp"
#include "base/time.hpp"
#include "base/zone.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace orchestry::partition {

using base::Bound;
using base::KeyKind;
using base::Member;
using base::Range;

/// A CHECK of ours on the default partition. It keeps a range out, so that a partition for the
/// range can be attached without a scan under a strong lock (or keeps all else out, while the
/// default partition is promoted).
struct Exclusion {
    std::string name;
    bool validated = false;
};

/// The default partition of a set.
struct DefaultPartition {
    std::uint32_t relid = 0;
    std::string quoted;
    std::vector<Exclusion> exclusions;
    /// Of whom it is, or a part of it, for whom the set's owner may not act, and what mends that.
    /// Reading it, or attaching another partition, may run functions of that role's. Empty: nobody.
    std::string stranger = {};
};

/// What is known of the statistics that the planner of queries uses for the whole set.
struct Statistics {
    bool has_rows = false;                    ///< some partition has rows
    bool changed = false;                     ///< rows changed since some ANALYZE
    std::optional<base::Instant> analyzed_at; ///< of the parent, by anybody
    bool cheap = false; ///< ANALYZE of the parent reads and locks a bounded amount
};

/// One partitioned table as the catalogs have it.
struct Set {
    std::uint32_t relid = 0;
    std::string name;   ///< bare and unquoted: {table} in name patterns
    std::string schema; ///< quoted; new partitions are made there
    std::uint32_t schema_id = 0;
    std::string quoted; ///< qualified and quoted
    KeyKind kind = KeyKind::timestamptz;
    std::string key;             ///< the key column, quoted
    std::string columns;         ///< quoted: those that an INSERT of whole rows names
    std::int64_t lowest = 0;     ///< the lowest position that the key's type can hold
    std::int64_t highest = 0;    ///< the highest one
    std::vector<Member> members; ///< ordered by range
    bool retention_runs = false; ///< asked where a detach is pending, which then is its own
    std::optional<DefaultPartition> fallback;
    std::optional<std::int64_t> position; ///< of integer keys: how far they have come
    Statistics statistics;
};

/// Partitions of a length of time.
struct TimeCadence {
    base::Step every;
    base::Span ahead;
    base::Span past;
    auto operator<=>(const TimeCadence&) const = default;
};

/// Partitions of a number of integer keys.
struct KeyCadence {
    std::int64_t every;
    std::int64_t ahead;
    std::int64_t past;
    auto operator<=>(const KeyCadence&) const = default;
};

/// What the user wants to hold for a set.
struct Policy {
    std::variant<TimeCadence, KeyCadence> cadence;
    /// Whose midnights and months count; it must outlive the policy's use.
    const base::Zone* zone = &base::utc();
    base::NamePattern names;
};

/// The runway when the user gives none: three steps, and at least 7 days.
base::Span default_ahead(const base::Step& every);
inline constexpr std::int64_t default_ahead_steps = 3; ///< of integer keys

/// Error 22023 when positions of this kind cannot be cut in such steps: part of a day on a date
/// key, part of a second on a key in seconds.
void check_step(KeyKind kind, const base::Step& every);

/// Marks the key's axis into grid intervals.
class Ruler {
  public:
    /// The grid continues that of the newest partition when that is exactly one step wide (weeks
    /// from Sunday, ids from 1). Keeps a reference to the policy's zone.
    Ruler(const Set& set, const Policy& policy);

    /// The greatest grid boundary <= position. Error 22008 or 22003 at the ends of the axis.
    std::int64_t floor(std::int64_t position) const;
    /// The smallest grid boundary > position. Errors as floor.
    std::int64_t next(std::int64_t position) const;
    /// Whether the bound is a position so far from the ends of the axis that the grid has
    /// boundaries around it.
    bool reaches(const Bound& bound) const;
    /// What people call a position that the grid reaches: local time, or UTC for steps below a day.
    /// Not for integers.
    base::LocalTime label(std::int64_t position) const;
    /// Whether the range is exactly one grid interval.
    bool is_interval(const Range& range) const;
    /// The name that the policy gives to a range.
    std::string name(const std::string& table, const base::NamePattern& pattern,
                     const Range& range) const;

  private:
    KeyKind kind_;
    std::variant<base::Grid, base::IntegerGrid> grid_;
};

/// How much there should be at least: from `here` minus past to `here` plus ahead, at either end
/// the whole grid interval, or as much of it as existing partitions leave on this side.
Range wanted(const Set& set, const Policy& policy, const Ruler& ruler, base::Instant now);

/// Where the set stands now: the position of `now`, or how far the keys of an integer set have
/// come.
std::int64_t here(const Set& set, const Policy& policy, base::Instant now);

/// The least and the greatest key of the default partition's rows.
struct Extent {
    std::int64_t least = 0;
    std::int64_t greatest = 0;
};

enum class Action {
    finalize_detach, ///< complete a DETACH CONCURRENTLY that was interrupted
    exclude_default, ///< keep a range out of a large default partition, not yet checked against its
                     ///< rows
    validate_default, ///< check that
    create,           ///< make a partition and attach it
    drop_exclusion,   ///< remove an exclusion that no step needs any more
    analyze,          ///< ANALYZE of the parent, which autovacuum never does
    leave,            ///< nothing is done: it is explained why
};

/// The word for an action in orchestry.plan().
const char* to_string(Action action);

/// One step, to be applied in a transaction of its own.
struct PlannedStep {
    Action action = Action::leave;
    Range range;                          ///< of the partition to be made, or of the one left alone
    std::string name;                     ///< of the partition to be made, unquoted
    std::string exact_lower, exact_upper; ///< as in Member
    std::uint32_t relid = 0; ///< of the existing relation acted on; 0 for the set itself
    std::string object;      ///< quoted name of that relation; empty when it is yet to be made
    std::string exclusion;   ///< the CHECK on the default partition; empty when there is none
    std::string reason;      ///< plain words
    std::string blocked_by;  ///< not empty: the step cannot be taken; says why and what mends it
};

/// The condition that a row of the partition to be made meets, over the key column.
std::string range_condition(const Set& set, const PlannedStep& step);

/// What a plan has to know beyond the set, asked only when a step depends on it.
class World {
  public:
    virtual ~World() = default;
    /// What has this name in the set's schema, for a message ("table public.x"); nullopt when it is
    /// free.
    virtual std::optional<std::string> holder_of(const std::string& name) const = 0;
    /// The size of the default partition, in blocks.
    virtual std::int64_t default_pages() const = 0;
    /// Whether a table, or a partition at any depth below it, is a foreign table.
    virtual bool has_foreign_table(std::uint32_t relid) const = 0;
    /// Whether the default partition has a row in the range of the partition to be made.
    virtual bool default_has_rows(const PlannedStep& step) const = 0;
    /// nullopt when the default partition is empty or has a row that no range can take (NULL,
    /// infinity).
    virtual std::optional<Extent> default_extent() const = 0;
};

/// A default partition of more blocks than this is never scanned under a strong lock.
inline constexpr std::int64_t small_default_pages = 1024;
/// A gap of more grid intervals than this is reported and not filled.
inline constexpr std::int64_t max_gap_pieces = 1'000;
/// A policy that wants more new partitions than this at once is refused.
inline constexpr std::int64_t max_wanted_pieces = 10'000;
/// All CHECKs of ours on default partitions begin like this.
inline constexpr const char* check_prefix = "orchestry_default_";

/// The name of the CHECK that keeps a range out of the default partition, and of the one that keeps
/// all else out of it while it is promoted. The same range always gives the same names.
std::string exclusion_name(KeyKind kind, const Range& range);
std::string inclusion_name(KeyKind kind, const Range& range);

/// The steps that the set needs, in the order in which they are to be taken. Nothing whose range
/// ends at or before `floor` is made: retention would remove it again.
std::vector<PlannedStep> plan(const Set& set, const Policy& policy, base::Instant now,
                              const World& world, std::optional<std::int64_t> floor = std::nullopt);

/// The steps that make the partition for one position, cut where it meets existing ones; the last
/// one creates it, those before prepare a large default partition. None when a partition has the
/// position already. Error 22008 when the position is of a time that the calendar does not reach.
std::vector<PlannedStep> plan_one(const Set& set, const Policy& policy, base::Instant now,
                                  const World& world, std::int64_t position);

/// The partition that the default partition can become as it is, because all its rows fit into one;
/// blocked when they do not.
PlannedStep plan_promotion(const Set& set, const Policy& policy, base::Instant now,
                           const World& world);

/// Error 22023 when the policy wants more than max_wanted_pieces new partitions.
void check_size(const Set& set, const Policy& policy, base::Instant now);

/// When the next partition will have to be made, given that none has to at `now`: up to three days
/// early where months differ in length. Nullopt for integer keys, whose need depends on their
/// position, and when the last partition has no end.
std::optional<base::Instant> next_need(const Set& set, const Policy& policy, base::Instant now);

/// The gaps between partitions that plan() makes partitions in, if only in a part of them; `floor`
/// as for plan().
std::vector<Range> gaps_to_fill(const Set& set, const Policy& policy, base::Instant now,
                                std::optional<std::int64_t> floor);

/// An instant before which plan() certainly finds nothing to create, given that it finds nothing at
/// `now`; nullopt for integer keys.
std::optional<base::Instant> quiet_until(const Set& set, const Policy& policy, base::Instant now);

} // namespace orchestry::partition
