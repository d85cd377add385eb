// From the catalogs and from a look at the rows to plan.hpp's plain structs. To be run as the owner
// of the source. Nothing here takes a lock stronger than AccessShareLock.
#pragma once

#include "catalog/hold.hpp"
#include "events/shape.hpp"

namespace orchestry::events {

/// What holds keep of a source: everything, or the rows that do not meet a condition.
struct Kept {
    std::string everything; ///< not empty: by which hold, and what ends it
    std::string condition;  ///< SQL over the source's columns that rows must meet to be taken;
                            ///< empty: there is no such hold
};
Kept kept_by_holds(const Shape& shape);

/// Rows of times from `lower` up to `upper` that no hold keeps, as a condition. Rows without a
/// finite time are not among them.
std::string removable(const Shape& shape, const Kept& kept, const base::TimeExtent& extent);

/// The bounds of the partitions of the source that have both; none when the time column is not its
/// partition key.
std::vector<base::TimeExtent> partition_bounds(const Shape& shape);

/// The partitions of the source that end at or before the horizon and can be taken as a whole, in
/// the order of time: tables of the source's owner, of a size that is worth it, of whose rows
/// nothing but their times decides what becomes of them. None when a hold keeps any row of the
/// source.
std::vector<Whole> whole_partitions(const Shape& shape, const Kept& kept, base::Instant horizon);

/// Why the rows of the source are not even read, and what mends it; empty: they may be. To read or
/// to delete those of a part that belongs to somebody for whom the source's owner may not act may
/// run that one's code, with the rights of the owner.
std::string stranger_in(const Shape& shape);

/// Why rows of the source cannot be taken one by one, and what mends it; empty: they can.
std::string obstacle(const Shape& shape);

/// By which foreign key of another table rows that meet a condition cannot be deleted, and what
/// mends it; empty: none is seen.
std::string reference_to(const Shape& shape, const std::string& condition);

/// Looks at the rows of a part of time, none of which goes as a whole.
Source inspect_part(const Shape& shape, const Policy& policy, const Kept& kept,
                    const base::TimeExtent& extent);

/// Looks at the rows before the horizon.
Source inspect(const Shape& shape, const Policy& policy, base::Instant now);

} // namespace orchestry::events
