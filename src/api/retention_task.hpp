// Retention as a kind of job.
#pragma once

#include "jobs/task.hpp"

namespace orchestry::api {

/// The task of jobs of kind 'retention'.
const jobs::Task& retention_task();

} // namespace orchestry::api
