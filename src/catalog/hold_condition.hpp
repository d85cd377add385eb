// What a hold says of single rows, as SQL: by which columns a span of time counts, and the
// condition that held rows meet.
#pragma once

#include "catalog/hold.hpp"

namespace orchestry::catalog {

/// A column that says when, and how.
struct HeldColumn {
    std::string name;      ///< unquoted
    Oid type = InvalidOid; ///< of the column, or of what its domain is over
    base::KeyKind kind = base::KeyKind::timestamptz;
};

/// The type in which the values of such a column are compared, qualified.
const char* comparison_type(Oid type);
/// Whether it is a number of units since 1970.
bool is_number_of_units(Oid type);
/// A position as a constant of such a type.
std::string position_constant(base::KeyKind kind, Oid type, std::int64_t position);
/// The condition that a column's value lies in an extent; empty: it may be anything. `column`: as
/// SQL.
std::string lies_within(const base::TimeExtent& extent, const std::string& column,
                        base::KeyKind kind, Oid type);

/// The partition key of a table, when it is a time: also a number for which a policy says what it
/// counts.
std::optional<HeldColumn> time_key(Oid table);

/// The columns beside that of a policy which may be meant by a hold on a span of time: the
/// partition key of `table` where that is of a type for times, else all columns of the leaf that
/// are; and the keys of all tables above and below it that are, or are numbers of which a policy
/// says what they count; above it is also what it was detached from. A uuid of version 7 as a key
/// is a time; others are more often the id of something else. `column`: the policy's, unquoted.
std::vector<HeldColumn> other_time_columns(const Holds& holds, Oid table, Oid leaf,
                                           const std::string& column);

/// A condition that a hold's rows of a table meet; "true": all do. `columns`: those by which a span
/// of time counts; which of them was meant nobody said, so rows are held by any. `row`: what the
/// table is called in the statement; empty: its columns alone say what they are.
std::string held_condition(const Hold& hold, const std::vector<HeldColumn>& columns,
                           const std::string& row);

} // namespace orchestry::catalog
