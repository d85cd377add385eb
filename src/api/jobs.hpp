// Running one job for whoever called a procedure.
#pragma once

#include "catalog/job.hpp"
#include "pg/xact.hpp"

namespace orchestry::api {

/// Runs a job now and here, and raises what made it fail. Commits what is open first. Raises 55000
/// when it is paused or orchestry.enabled is off, 25006 on a standby.
void run_one_job(pg::Session& session, const catalog::Job& job);

} // namespace orchestry::api
