// Which partitions of a table are past their time, and what is to be done with them: decided from
// plain facts, without a catalog, a lock or a clock of its own. The same decision is shown by
// orchestry.plan() and carried out by a run.
//
// Words: the horizon is the position before which data is past its time; a partition is due when
// all of it lies before the horizon. Quarantine is where a detached partition waits for the end of
// its grace: still in its schema, with its owner and its privileges, but under a name that nobody
// uses.
#pragma once

#include "base/partition_key.hpp"
#include "base/step.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace orchestry::retention {

/// A legal hold that covers a partition or a part of it.
struct Hold {
    std::int64_t id = 0;
    std::string reason;
    std::string predicate; ///< SQL over the table's columns; empty: every row is held
};

/// Whether the rows of a table in quarantine are in a file of the archive.
enum class InFile {
    no,
    unnamed, ///< in one that is complete, but does not have its name yet
    yes,
    has_none, ///< there are none: its partitions have them
};

/// What stays or goes as one, and what keeps it.
struct Thing {
    std::uint32_t relid = 0;
    std::string quoted;   ///< qualified and quoted
    std::string stranger; ///< its owner, quoted, when the owner of the set may not act for that
                          ///< role; else empty
    std::string strangers_part; ///< the part of it that belongs to the stranger, quoted; empty: it
                                ///< does itself
    std::vector<Hold> holds;
    std::string
        dependents; ///< of what is in quarantine: what keeps it from being dropped; empty: nothing
    InFile in_file = InFile::no; ///< of what is in quarantine: whether its rows are in a file
};

/// A partition of the set, the default partition apart.
struct Partition : Thing {
    base::Range range;
    std::string exact_lower, exact_upper; ///< as in base::Member
    bool detach_pending = false;
    std::string quarantined; ///< qualified and quoted: its name in quarantine
    bool renamed =
        false; ///< it has that name already: a run was interrupted between renaming and detaching
    bool has_parts = false; ///< it is partitioned itself
};

/// A detached partition in quarantine.
struct Detached : Thing {
    std::string former;              ///< its name before, quoted
    std::optional<base::Instant> at; ///< nullopt: a run was interrupted before the grace began
    std::vector<Thing> parts; ///< its own partitions, in an order in which they can be dropped
};

/// A foreign key between the set and another table.
struct ForeignKey {
    std::uint32_t constraint = 0;
    std::string name;        ///< quoted
    std::uint32_t relid = 0; ///< of the other table
    std::string table;       ///< the other table, qualified and quoted
    bool in_quarantine =
        false;          ///< the other table is a detached partition that waits to be dropped
    std::string remedy; ///< of other tables to the set: the command that lets the set's owner read
                        ///< the table; empty: none is needed
};

/// One partitioned table as the catalogs have it.
struct Set {
    std::uint32_t relid = 0;
    std::string quoted; ///< qualified and quoted
    std::string owner;  ///< quoted
    base::KeyKind kind = base::KeyKind::timestamptz;
    std::vector<Partition> partitions;     ///< ordered by range
    std::optional<Thing> fallback;         ///< the default partition
    std::vector<ForeignKey> references;    ///< of the set to other tables
    std::vector<ForeignKey> referenced_by; ///< of other tables to the set
    std::vector<Detached> quarantine;      ///< what this policy detached, in the order of detaching
    std::optional<std::int64_t> position;  ///< of integer keys: how far they have come at least
    bool is_compressed = false; ///< an event compression policy takes its rows, before they go
    bool is_archived = false;   ///< a policy moves rows of it into an archive, before they go
    bool is_watched = false;    ///< a rollup is made of its rows, before they go
};

/// What becomes of a partition that is due.
enum class Expiry {
    drop,   ///< detached, and dropped after the grace
    detach, ///< detached, and kept in quarantine for ever
};

/// What the user wants to hold for a set.
struct Policy {
    std::variant<base::Span, std::int64_t> keep; ///< a length of time, or a number of integer keys
    Expiry action = Expiry::drop;
    base::Span grace{0, 7, 0};
    std::string directory; ///< of the files that rows go to before they are dropped; empty: none
    /// Whose midnights and months count; it must outlive the policy's use.
    const base::Zone* zone = &base::utc();
    bool announced = false; ///< the first removal was announced in the history
    /// Not empty: nothing may be removed now, and this says why and what mends it.
    std::string veto;
};

/// Error 22023 unless an interval is positive, without a negative part. `what`: the user's name for
/// it.
void check_positive(const base::Span& span, const char* what);
/// Error 22023 when a part of an interval is negative.
void check_not_negative(const base::Span& span, const char* what);

/// Error 22023 when `keep` is shorter than the newest partition: every partition would be due as
/// soon as it is full, which nobody means. Error 22008 when `keep` or the grace goes further than
/// time does.
void check_keep(const Set& set, const Policy& policy, base::Instant now);

/// The horizon at `now`: nullopt when it is not known how far integer keys have come.
std::optional<std::int64_t> horizon(const Set& set, const Policy& policy, base::Instant now);

/// The newest partition that takes rows, which always stays; nullptr when there is none.
const Partition* newest(const Set& set);
/// Whether all of a partition lies before the horizon.
bool is_due(const Partition& partition, std::optional<std::int64_t> horizon);
/// About when the clock brings the horizon to the end of a partition: where months end on different
/// days, or a clock is set back, it can be days or hours off. Nullopt when no clock does.
std::optional<base::Instant> due_at(const Set& set, const Policy& policy,
                                    const Partition& partition);

/// The unquoted name that a partition has in quarantine: its own, cut to fit, after a prefix with
/// its OID, so that it is free in the schema.
std::string quarantine_name(std::uint32_t relid, const std::string& name);

enum class Action {
    announce,        ///< writes into the history what the first removal of a policy takes
    finalize_detach, ///< completes a DETACH CONCURRENTLY that was interrupted
    begin_grace,     ///< a run was interrupted right after a detach: the grace begins now
    reinstate, ///< a run was interrupted before a detach, which is no longer wanted: gives the name
               ///< back
    detach,    ///< detaches a partition into quarantine
    archive,   ///< writes the rows of what is in quarantine into a file
    publish,   ///< gives a complete file its name
    drop,      ///< drops what was in quarantine long enough
    remove,    ///< drops a partition in one go, because the policy has no grace
    leave,     ///< nothing is done: it is explained why
};

/// The word for an action in orchestry.plan().
const char* to_string(Action action);

/// One step, to be applied in a transaction of its own.
struct PlannedStep {
    Action action = Action::leave;
    std::uint32_t relid = 0; ///< what is acted on
    std::string object;      ///< its quoted name at that time
    base::Range range;       ///< of a partition to be detached
    std::string exact_lower, exact_upper;
    std::vector<std::int64_t> searched_for; ///< the holds of which it has no row
    std::uint32_t survivor =
        0; ///< a newer partition, without which the one to be detached would have to stay
    std::uint32_t root = 0; ///< of a part to be dropped: what is in quarantine; else as relid
    bool waits =
        false; ///< of what is left alone: until something happens that is no matter of the clock
    bool concurrently = false; ///< DETACH CONCURRENTLY can be used where the host can run it;
                               ///< what is removed is dropped after it
    std::string reason;        ///< plain words
    std::string blocked_by;    ///< not empty: the step is not taken; says why and what mends it
};

/// Whether an action takes a partition out of its set.
constexpr bool takes_partition(Action action) {
    return action == Action::detach || action == Action::remove;
}

/// Whether an action takes rows away from where people find them.
constexpr bool is_destructive(Action action) {
    return takes_partition(action) || action == Action::drop;
}

/// What a plan has to know of rows, asked only of partitions that are due.
class World {
  public:
    virtual ~World() = default;
    /// Whether the table has a row that a hold with a predicate covers.
    virtual bool has_held_row(const Thing& thing, const Hold& hold) const = 0;
    /// Whether a row of the other table references a row of the partition by the foreign key.
    virtual bool is_referenced(const Partition& partition, const ForeignKey& key) const = 0;
    /// What else needs the partition, so that it cannot be dropped alone; empty: nothing. Asked
    /// only where it is to be dropped at once.
    virtual std::string dependents(const Partition& partition) const = 0;
    /// Of a set that is compressed: whether the partition has rows that are not compressed yet.
    virtual bool awaits_compression(const Partition& partition) const = 0;
    /// Of a set that is archived: the job that has yet to move rows of the partition into an
    /// archive; nullopt: none has.
    virtual std::optional<std::int64_t> awaits_archive(const Partition& partition) const = 0;
    /// Of a set that is watched: the jobs that have yet to read the partition's rows, as text;
    /// empty when there is none.
    virtual std::string awaited_by(const Partition& partition) const = 0;
};

/// The steps that the set needs, in the order in which they are to be taken.
std::vector<PlannedStep> plan(const Set& set, const Policy& policy, base::Instant now,
                              const World& world);

/// An instant before which plan() cannot find more to do than it does at `now`, given that it finds
/// nothing to do at `now`; nullopt when that depends on more than the clock.
std::optional<base::Instant> quiet_until(const Set& set, const Policy& policy, base::Instant now);

/// Why a job must not remove anything although its clock says so, or nothing. A clock that runs
/// this far ahead of when the job was to run next was set wrong, or the job did not run for a long
/// time: somebody has to say which. `next_due`: the slot after the last run that ended well.
std::string clock_veto(base::Instant next_due, base::Instant now, std::int64_t job_id);
inline constexpr std::int64_t clock_leap_us = 30 * base::us_per_day;

} // namespace orchestry::retention
