// Running one job for whoever called a procedure.
#pragma once

#include <functional>

#include "catalog/job.hpp"
#include "catalog/run.hpp"
#include "pg/xact.hpp"

namespace orchestry::api {

/// Runs a job now and here, and raises what made it fail. Commits what is open first. Raises 55000
/// when it is paused or orchestry.enabled is off, 25006 on a standby. `failed`: called with a
/// failure when that is recorded, before it is raised.
void run_one_job(pg::Session& session, const catalog::Job& job,
                 const std::function<void(const pg::Failure&)>& failed = {});

/// Hands a run of a job to a background worker, and returns the run's id; without a free slot it
/// waits. Raises as run_one_job(), and 42501 within a security-restricted operation. `function`:
/// for messages.
catalog::RunId start_one_job(const catalog::Job& job, const char* function);

} // namespace orchestry::api
