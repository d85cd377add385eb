// Rollups as a kind of job.
#pragma once

#include "jobs/task.hpp"

namespace orchestry::api {

/// The task of jobs of kind 'rollup'.
const jobs::Task& rollup_task();

} // namespace orchestry::api
