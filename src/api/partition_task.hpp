// Partition maintenance as a kind of job.
#pragma once

#include "jobs/task.hpp"

namespace orchestry::api {

/// The task of jobs of kind 'partition'.
const jobs::Task& partition_task();

} // namespace orchestry::api
