// What users ask for right now: a policy, a change of it, and a partition back from quarantine.
#pragma once

#include "retention/apply.hpp"

namespace orchestry::retention {

/// Gives a table a retention policy. Removes nothing: the first run comes with the schedule's next
/// slot, so that there is time to look at orchestry.plan(). The caller must own the table. Asked
/// for the same again, it says so in a NOTICE and changes nothing. Raises, with nothing changed:
/// 42501, 42703, 22023 for what does not fit, 42710 when the table has another policy for the same,
/// 55000 when a publication needs a replica identity to publish deletes, 55P03 when somebody else
/// changes the table, and what find_archive() and its like raise.
catalog::JobId add_policy(Oid relid, Settings settings, const std::string& schedule,
                          base::Instant now);

/// Changes the settings of a policy. Raises 22023 and 22004 as patched() and CheckedPolicy do.
void alter_policy(const catalog::Job& job, const std::string& patch, base::Instant now);

/// Undoes a detach: gives a partition in quarantine its name and its place back, and puts a hold on
/// it, so that the next run does not take it again. Returns the hold. All in the current
/// transaction. Raises 55000 when it is not in quarantine, 42501 unless the caller owns the table,
/// 42P07 when its name is taken, 42P17 when its range is, 55P03 when the locks are not had within
/// orchestry.lock_timeout.
std::int64_t reattach(Oid partition);

} // namespace orchestry::retention
