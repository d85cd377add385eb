// What users ask for right now: a policy, one partition, a default partition that becomes an
// ordinary one.
#pragma once

#include "partition/apply.hpp"
#include "pg/xact.hpp"

namespace orchestry::partition {

/// Gives a table a partition policy and makes its runway, all in the current transaction. The
/// caller must own the table; partitions are made as the owner. Asked for the same again, it says
/// so in a NOTICE and changes nothing. Raises, with nothing changed: 42501, 42809, 0A000, 22023 for
/// what does not fit, 42710 when the table has another policy, 55P03 when the locks are not had
/// within orchestry.lock_timeout, 40001 when it has one that the transaction's snapshot does not
/// show.
catalog::JobId add_policy(Oid parent, const Settings& settings, const std::string& schedule,
                          base::Instant now);

/// Changes the settings of a policy. Partitions that exist stay as they are. Raises 22023 and 22004
/// as patched() and CheckedPolicy do.
void alter_policy(const catalog::Job& job, const std::string& patch, base::Instant now);

/// Makes the partition for a key now and returns it; returns the one that is there already with a
/// NOTICE. Raises 55000 when the table has no policy or the partition cannot be made, with what
/// mends it.
Oid create_partition_at(Oid parent, std::int64_t position, base::Instant now);

/// Makes the default partition the ordinary partition that all its rows fit into, without moving a
/// row, and puts a new empty one in its place. Commits between its steps; rows for other ranges are
/// refused by the default partition from the first of them on, until all is done or it has failed:
/// then its constraint is taken away again, and by the next run of the table's job where that does
/// not get its lock or the process is killed. Raises 55000 when the rows do not fit one partition,
/// 55006 while the table's job runs.
void promote_default(pg::Session& session, Oid parent);

} // namespace orchestry::partition
