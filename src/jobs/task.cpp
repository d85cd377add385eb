#include "jobs/task.hpp"

namespace orchestry::jobs {

namespace {

constexpr int max_tasks = 16;
const Task* tasks[max_tasks]; // filled once at load time
int task_count = 0;

} // namespace

void register_task(const Task& task) {
    if (task_count == max_tasks)
        throw base::Error(base::errc::internal, "too many kinds of tasks");
    tasks[task_count++] = &task;
}

const Task& task_of(const std::string& kind) {
    for (int i = 0; i < task_count; ++i)
        if (kind == tasks[i]->kind())
            return *tasks[i];
    throw base::Error(base::errc::invalid_parameter, "unknown kind of job \"" + kind + "\"")
        .hint(
            "The installed library may be older than the extension's tables: restart the server.");
}

} // namespace orchestry::jobs
