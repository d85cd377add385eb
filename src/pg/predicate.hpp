// Conditions that users give as text: WHERE clauses of holds and policies.
#pragma once

#include "pg/guard.hpp"

#include <string>
#include <vector>

namespace orchestry::pg {

/// Whether a condition may depend on when, by whom and under which settings it is evaluated.
enum class SessionState {
    may_matter,
    must_not_matter, ///< it is evaluated by runs alone, whose formats and time zone are the same
    of_any_reader,   ///< by whoever reads as well, with formats and a time zone of his own
};
/// Whether a condition may read the row as a whole, which is another one in each partition.
enum class WholeRow { allowed, refused };

/// Checks that a text is one condition over the columns of a table, and nothing besides: it cannot
/// end the statement it will be part of, reads no other table and calls nothing volatile. Returns
/// it as the server writes it, with every name that is not a built-in one qualified, so that it
/// means the same under any search_path. `argument`: the user's name for it. Raises 42601, 42703
/// and the like as the server does for a WHERE clause, 22023 for what is not allowed here.
/// Where the session must not matter, now(), CURRENT_DATE, CURRENT_USER and their like are not, nor
/// is the row as a whole, which can be refused alone as well; where it is that of any reader, only
/// what is IMMUTABLE is, and no system column. Names are looked up in the caller's search_path, but
/// as the table's owner, whose functions may be called.
std::string check_predicate(Oid relid, const std::string& text, const char* argument,
                            SessionState session = SessionState::may_matter,
                            WholeRow whole_row = WholeRow::allowed);

/// The names, unquoted, of the columns that a condition reads, in the order of the table. `text`:
/// as check_predicate() has written it, without the row as a whole.
std::vector<std::string> columns_of_predicate(Oid relid, const std::string& text);

} // namespace orchestry::pg
