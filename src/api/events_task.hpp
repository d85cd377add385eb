// Event compression as a kind of job.
#pragma once

#include "jobs/task.hpp"

namespace orchestry::api {

/// The task of jobs of kind 'events'.
const jobs::Task& events_task();

} // namespace orchestry::api
