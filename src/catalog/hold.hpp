// Legal holds: typed access to orchestry.hold, and what they cover. A hold is on a table and
// everything below it, from the moment at which it is committed until somebody releases it.
#pragma once

#include "catalog/job.hpp"
#include "catalog/partitioned_table.hpp"
#include "catalog/quarantine.hpp"

#include <map>

namespace orchestry::catalog {

/// What a hold covers.
struct Hold {
    std::int64_t id = 0;
    Oid relid = InvalidOid;
    base::TimeExtent extent; ///< rows of these times
    std::string
        predicate; ///< SQL over the table's columns as check_predicate() wrote it; empty: every row
    std::string reason;
    std::vector<std::string> columns; ///< that the predicate reads, unquoted
};

/// Puts a hold on a table, with the predicate as the user wrote it. Returns its id. Raises 42501
/// unless the current user has the rights of the table's owner, 42809 for what is not a permanent
/// table, 22023 for an empty reason, an empty span of time or a predicate that check_predicate()
/// refuses, 55P03 when rows are being removed at this moment.
std::int64_t add_hold(Hold hold);

/// Ends a hold, for a reason. Raises 22023 when the reason is empty, 42704 when there is none with
/// this id, 55000 when it was released before, 42501 unless the current user has the rights of the
/// table's owner, 55P03 as add_hold().
void release_hold(std::int64_t id, const std::string& reason);

/// The holds that are in force, as of the moment of construction, whatever snapshot the transaction
/// has.
class Holds {
  public:
    Holds();

    bool empty() const noexcept { return holds_.empty(); }
    /// Those that cover rows of a table: holds on the table, on its partitions, and on tables that
    /// it inherits from, is a partition of or was before it came into quarantine. What inherits
    /// from the table is a table by itself. A hold on a part of time covers no partition that
    /// certainly has no rows of that time, by none of the keys above and below. `extent`: the times
    /// of the table's rows, where the caller knows more than the type of the key says.
    std::vector<Hold> covering(Oid relid,
                               const std::optional<base::TimeExtent>& extent = std::nullopt) const;
    /// Likewise, with the holds on a part of time that the partition has no rows of: its bounds say
    /// that of the key, and the rows have other times as well.
    std::vector<Hold> covering_at_any_time(Oid relid) const;
    /// A table, and all that it inherits from, is a partition of or was before it came into
    /// quarantine. Known only where there are holds.
    std::vector<Oid> lineage_of(Oid relid) const;
    bool is_below(Oid relid, Oid above) const;
    /// Whether a table was detached by retention, whatever it is a partition of now.
    bool was_detached(Oid relid) const { return quarantine_.contains(relid); }

  private:
    /// What a table inherits from, is a partition of, or was before it came into quarantine.
    struct Above {
        Oid relid = InvalidOid;
        std::optional<base::TimeExtent> extent; ///< of the partition's rows, where that is known
        bool is_part = false; ///< the table is in it by nothing but partitioning, and goes with it
    };
    struct Placed {
        Hold hold;
        std::vector<Above> place;
    };
    /// What a partition key says of the times of a table's rows; nullopt: nothing.
    struct KeyTimes {
        std::string column;
        std::optional<base::TimeExtent> extent;
    };
    /// From the table upwards; what it is a partition of, or was, comes first.
    std::vector<Above> place_of(Oid relid) const;
    /// By the keys of all that a table is a part of, at any distance, and of its own parts; none
    /// where that is one key alone.
    std::vector<KeyTimes> key_times_of(Oid relid) const;
    std::vector<Hold> covering_from(const std::vector<Above>& place, Oid relid) const;

    std::vector<Placed> holds_;
    std::map<Oid, Quarantined> quarantine_;
};

/// Holds whose predicates a role may run. One on a stranger's table is code of that stranger: it
/// comes back without its predicate, so that it holds every row.
std::vector<Hold> trusted(std::vector<Hold> holds, Oid role);

/// Whether rows of a table with times in an extent are under a hold of it, of what it or a
/// partition of it is or was a partition of or of a partition of it, or have changed since a rollup
/// has read them: what the functions of templates ask, whatever rights their callers have. Tells
/// nothing else of either.
/// Where somebody is about to remove rows, no new hold is committed before the transaction ends:
/// raises 55P03 when one is being set for long.
bool must_stay(Oid relid, const base::TimeExtent& extent);

/// What a table is a partition of, or inherits from, itself.
std::vector<Oid> parents_of(Oid relid);

/// The table orchestry.hold; InvalidOid when the extension is not there (any more).
Oid hold_table();

/// Whether any hold is in force: the table itself is asked, and nothing else of the extension need
/// be there any more.
bool any_in_force();

/// Whether all that Holds and the records of the quarantine are read through is there. DROP
/// EXTENSION may have begun to take it away.
bool holds_are_readable();

/// What keeps new holds from being committed before the current transaction ends. Whoever removes
/// rows takes it after the locks on tables, and looks at the holds then.
inline constexpr LOCKMODE hold_lock_mode = ShareLock;

/// "hold 7 (case 12/2026)"
std::string describe(const Hold& hold);
/// The command that releases a hold.
std::string release_command(std::int64_t hold_id);

/// Follows renames of held tables, and finds those of a restored or copied database again by their
/// names.
void reconcile_holds();

} // namespace orchestry::catalog
