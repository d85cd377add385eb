// Which rows of a table are past their time, and how they are to be removed: decided from plain
// facts, without a catalog, a lock or a clock of its own. The same decision is shown by
// orchestry.plan() and carried out by a run.
//
// Words: a leaf is a table that has rows itself, the policy's own or a partition of it. A walk goes
// through a leaf in the order of its blocks; an index is followed from the oldest row on. Both go
// in batches, each of which is a transaction that takes about as long as it should. A leaf that is
// past its time moves into an archive as a whole where that can be: detached here and attached
// there in one transaction.
#pragma once

#include "base/partition_key.hpp"
#include "base/step.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace orchestry::retention {

/// A leaf, and what is known of its rows.
struct Leaf {
    std::uint32_t relid = 0;
    std::string quoted;   ///< qualified and quoted
    std::string stranger; ///< whoever owns it, or what is to be read with it, quoted, when the
                          ///< owner of the policy's table may not act for that role; else empty
    std::string strangers_table; ///< what is to be read with it and is the stranger's, quoted;
                                 ///< empty: the leaf is
    bool is_foreign = false;     ///< a foreign table: its rows are elsewhere
    bool leaves_whole = false;   ///< another policy takes it as a whole
    std::uint32_t member = 0; ///< the partition of the policy's table that it is, or is in; 0: none
    std::string not_whole; ///< why it cannot move into the archive as a whole; empty: it can, and
                           ///< the archive has no place for single rows of it
    /// The range of the policy's time column, where the bounds of the partition tell.
    std::optional<base::Range> range;
    std::string held;       ///< the hold that keeps every row, and how to end it; empty: none does
    std::string claimed_by; ///< the jobs that are to archive or compress some of its rows first;
                            ///< empty: none
    std::string lost_along; ///< why rows elsewhere that a job has yet to take would be deleted
                            ///< along, and what mends it; empty: none would
    std::string rule;       ///< why rows that are deleted cannot go into an archive, and what mends
                            ///< it; empty: they can
    std::int64_t pages = 0; ///< of 8 kB, now
    std::int64_t rows = 0;  ///< estimated
    std::int64_t past_rows = 0; ///< estimated: that the policy takes
    std::string time_index;     ///< quoted: a plain index that leads with the time column, or empty
};

/// A table with a policy for its rows.
struct RowTable {
    std::uint32_t relid = 0;
    std::string quoted;
    std::string owner;        ///< quoted
    std::vector<Leaf> leaves; ///< the oldest first, where that is known
    std::string not_whole;    ///< why no leaf can move into the archive as a whole; empty: some may
    std::string time_index_sql;      ///< the command that makes an index on the time column
    std::string keep_last_index_sql; ///< likewise for the newest rows of a group; empty: there is
                                     ///< one, or none is needed
    /// The commands that make what deleting a row searches for rows that reference it.
    std::vector<std::string> foreign_key_indexes_sql;
    std::string cascade; ///< why rows elsewhere would be lost when these move, and what mends it;
                         ///< empty: none would
};

/// What the user wants to hold for the rows.
struct RowPolicy {
    base::KeyKind kind = base::KeyKind::timestamptz; ///< what the time column means
    base::Span keep{0, 0, 0};
    /// Whose midnights and months count; it must outlive the policy's use.
    const base::Zone* zone = &base::utc();
    std::string time_column;     ///< quoted
    std::string predicate;       ///< SQL; empty: all rows
    int keep_last = 0;           ///< how many of the newest rows of a group stay; 0: none
    std::string archive;         ///< where rows go: a table, qualified and quoted, or "file:" and a
                                 ///< directory; empty: nowhere
    std::string directory;       ///< of the files that rows go to; empty: none
    std::string unnamed_file_of; ///< not empty: a file of rows of this part is complete and has no
                                 ///< name yet
    bool announced = false;      ///< the first removal was announced in the history
    /// Not empty: nothing may be removed now, and this says why and what mends it.
    std::string veto;
};

/// Below this no clock is right enough: what writes a row and what removes it need not agree to
/// more than seconds.
inline constexpr std::int64_t least_row_keep_us = base::us_per_minute;
/// Error 22023 when rows are kept for less than that, 22008 when `keep` goes further than time
/// does.
void check_row_keep(const RowPolicy& policy, base::Instant now);

/// The position on the time column's axis before which rows are past their time.
std::int64_t row_horizon(const RowPolicy& policy, base::Instant now);

/// The unit of numbers that seem to be times since 1970, none of them before 1990 or after 2100:
/// "s", "ms", "us" or "ns"; empty when they are something else.
std::string guess_key_unit(double least, double greatest);

enum class RowAction {
    announce, ///< writes into the history what the first removal of a policy takes
    remove,   ///< deletes the rows of a leaf
    archive,  ///< moves the rows of a leaf into another table, or into files
    publish,  ///< gives a complete file its name
    leave,    ///< nothing is done: it is explained why
};

/// The word for an action in orchestry.plan().
const char* to_string(RowAction action);

/// How the batches of a step find their rows.
enum class RowRoute {
    walk,
    index,
    whole, ///< they do not: the leaf moves into the archive
};

/// One step: all batches of one leaf.
struct PlannedRows {
    RowAction action = RowAction::leave;
    std::uint32_t relid = 0;
    std::string object; ///< its quoted name at that time
    RowRoute route = RowRoute::walk;
    std::int64_t rows = 0;      ///< estimated
    std::int64_t horizon = 0;   ///< a position on the time column's axis
    base::Range range;          ///< of a leaf that moves as a whole
    std::uint32_t survivor = 0; ///< the newest partition, without which it would have to stay
    std::string reason;         ///< plain words
    std::string blocked_by;     ///< not empty: the step is not taken; says why and what mends it
};

/// Whether an action takes rows away from where people find them.
constexpr bool is_destructive(RowAction action) {
    return action == RowAction::remove || action == RowAction::archive;
}

/// What a plan has to know of rows.
class RowWorld {
  public:
    virtual ~RowWorld() = default;
    /// Whether the leaf has a row that the policy takes. Asked only where the answer is cheap.
    virtual bool has_past_row(const Leaf& leaf, std::int64_t horizon) const = 0;
};

/// The steps that the table needs, in the order in which they are to be taken.
std::vector<PlannedRows> plan_rows(const RowTable& table, const RowPolicy& policy,
                                   base::Instant now, const RowWorld& world);

} // namespace orchestry::retention
