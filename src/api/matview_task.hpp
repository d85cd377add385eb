// Materialized views as a kind of job.
#pragma once

#include "jobs/task.hpp"

namespace orchestry::api {

/// The task of jobs of kind 'matview'.
const jobs::Task& matview_task();

} // namespace orchestry::api
