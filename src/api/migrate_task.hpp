// Schema changes that are jobs: backfills and builds of indexes.
#pragma once

#include "jobs/task.hpp"

namespace orchestry::api {

const jobs::Task& backfill_task();
const jobs::Task& index_task();

} // namespace orchestry::api
