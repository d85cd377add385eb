// Schema changes that hold nobody up: they wait for their locks for a moment only, and try again.
#pragma once

#include <functional>
#include <string>

#include "pg/lock.hpp"
#include "pg/xact.hpp"

namespace orchestry::migrate {

/// How patient a change is, in microseconds.
struct Patience {
    std::int64_t lock_timeout_us = 0; ///< for each lock: others queue behind us for that long
    std::int64_t max_wait_us = 0;     ///< for all attempts together
};

/// Does `change` in a transaction of its own. As long as one of its locks is not had in time, what
/// it did is undone, a NOTICE names who is in the way, and it is done again after a pause in which
/// nothing is held. Raises 55P03, with those names, when the patience is over, and whatever else
/// the change raises. `what`: for messages.
void change_patiently(pg::Session& session, const std::string& what, const Patience& patience,
                      const std::function<void()>& change);

/// Runs one statement like that, as the current user with the session's settings. Raises 42601
/// unless it is one statement, 0A000 for those that change or read rows.
void run_ddl(pg::Session& session, const std::string& sql, const Patience& patience);

/// Makes a column NOT NULL while everybody reads and writes: a CHECK that is not validated yet, the
/// validation, which takes as long as reading the table and holds nobody up, then NOT NULL, which
/// the server proves by the CHECK, and the CHECK goes. So it is in all tables that inherit, and
/// constraints that are not validated are. Goes on where an earlier call was interrupted. Returns
/// false when nothing was to do. Raises 42501 for others than the table's owner, 42809 for what is
/// not a table, 42703, 55000 where a constraint that is NO INHERIT is in the way, and 23502 with
/// the way to find the rows when there are NULLs.
bool set_not_null(pg::Session& session, Oid relid, const std::string& column,
                  const Patience& patience);

} // namespace orchestry::migrate
