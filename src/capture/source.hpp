// Which tables jobs are told of. A trigger says which job it belongs to, and is not believed:
// anybody can make one on a table of his own, and a dump of single tables brings those of jobs of
// another database.
#pragma once

#include "catalog/job.hpp"

namespace orchestry::capture {

/// Whether changes of a trigger's table are those of what its job reads: of a source, or a
/// partition of one. As of now, whatever snapshot the transaction has. A writer asks it for each
/// row: what was true is remembered until something changes, and what was not for one command.
bool is_believed(Oid trigger, catalog::JobId job, Oid relid);

/// Keeps a job's sources as they are, by the lock on its row that its removal takes as well.
void lock_sources(catalog::JobId job);
/// The sources of a job that have a trigger of it: not as a partition of one that has.
std::vector<Oid> watched_by(catalog::JobId job);

/// Makes a table a source of the job of a materialized view, before its triggers are made. False:
/// the job is gone. It stays until the end of this transaction.
bool add_source(catalog::JobId job, Oid relid);
void remove_sources(catalog::JobId job);

/// Called once, when the library is loaded.
void install_source_cache();

} // namespace orchestry::capture
