#include "api/partition_task.hpp"

#include <memory>

#include "catalog/settings.hpp"
#include "partition/manage.hpp"
#include "partition/settle.hpp"

namespace orchestry::api {

namespace {

using catalog::Job;
using catalog::JobId;

std::string joined(const std::vector<std::string>& statements) {
    std::string sql;
    for (const std::string& statement : statements)
        sql += (sql.empty() ? "" : "\n") + statement + ";";
    return sql;
}

class PartitionTask : public jobs::Task {
  public:
    const char* kind() const noexcept override { return "partition"; }

    std::vector<jobs::Step> plan(const Job& job, base::Instant now) const override {
        const auto settings =
            std::make_shared<const partition::Settings>(partition::load_settings(job.id));
        const partition::CheckedPolicy policy(*settings, catalog::require_key_column(job.target),
                                              partition::Names::checked_before);
        const partition::Set set = partition::inspect(job.target, policy.kind());
        std::vector<jobs::Step> steps;
        for (partition::Step& step :
             partition::prepare(set, partition::plan_inspected(set, policy.plan(), now)))
            steps.push_back(step_of(job, settings, std::move(step)));
        return steps;
    }

    std::vector<JobId> settled(const std::vector<Job>& jobs, base::Instant now) const override {
        return catalog::settled(jobs, now);
    }

    void settle(const Job& job, base::Instant now) const override {
        partition::remember_quiet(job, now);
    }

    void alter(const Job& job, const std::string& settings) const override {
        partition::alter_policy(job, settings, catalog::settings::now());
    }

  private:
    static jobs::Step step_of(const Job& job,
                              const std::shared_ptr<const partition::Settings>& settings,
                              partition::Step prepared) {
        jobs::Step step;
        step.action = partition::to_string(prepared.planned.action);
        step.object = prepared.object;
        step.reason = prepared.planned.reason;
        step.sql = joined(prepared.statements);
        step.locks = pg::describe_locks(prepared.lock_requests);
        step.blocked_by = prepared.planned.blocked_by;
        step.informative = prepared.planned.action == partition::Action::leave;
        step.lock_requests = prepared.lock_requests;
        step.apply = [target = job.target, id = job.id, settings,
                      prepared = std::move(prepared)](std::int64_t lock_budget_us) {
            const partition::Applied applied =
                partition::apply(target, id, *settings, prepared, lock_budget_us);
            jobs::StepResult result;
            result.state =
                applied.done ? jobs::StepResult::State::done : jobs::StepResult::State::skipped;
            result.lock_wait_us = applied.lock_wait_us;
            result.message = applied.why_not;
            return result;
        };
        return step;
    }
};

constinit const PartitionTask the_task;

} // namespace

const jobs::Task& partition_task() { return the_task; }

} // namespace orchestry::api
