#include "api/matview_task.hpp"

#include <memory>

#include "matview/apply.hpp"
#include "matview/manage.hpp"

namespace orchestry::api {

namespace {

using catalog::Job;
using catalog::JobId;

jobs::StepResult result_of(const matview::Applied& applied) {
    jobs::StepResult result;
    switch (applied.outcome) {
    case matview::Applied::Outcome::done:
        break;
    case matview::Applied::Outcome::skipped:
        result.state = jobs::StepResult::State::skipped;
        break;
    case matview::Applied::Outcome::later:
        result.state = jobs::StepResult::State::later;
        break;
    }
    result.rows = applied.rows;
    result.bytes = applied.bytes;
    result.lock_wait_us = applied.lock_wait_us;
    result.message = applied.message;
    return result;
}

class MatviewTask : public jobs::Task {
  public:
    const char* kind() const noexcept override { return "matview"; }

    std::vector<jobs::Step> plan(const Job& job, base::Instant now) const override {
        const auto planned = std::make_shared<const matview::Planned>(matview::plan_job(job, now));
        std::vector<jobs::Step> steps;
        for (const matview::Step& step : planned->steps)
            steps.push_back(step_of(planned, step));
        return steps;
    }

    std::vector<JobId> settled(const std::vector<Job>& jobs, base::Instant now) const override {
        return matview::settled(jobs, now);
    }

    bool remembers_looks() const noexcept override { return true; }

    void settle(const Job& job, base::Instant now) const override { matview::settle(job, now); }

    std::optional<base::Instant> due(const Job& job, base::Instant now) const override {
        return matview::next_due(job, now);
    }

    std::vector<Oid> goes_after(const Job& job) const override { return matview::ancestors(job); }

    void alter(const Job& job, const std::string& settings) const override {
        matview::alter_policy(job, settings);
    }

    void remove(const Job& job) const override { matview::remove_policy(job); }

  private:
    static jobs::Step step_of(const std::shared_ptr<const matview::Planned>& planned,
                              const matview::Step& from) {
        jobs::Step step;
        step.action = matview::to_string(from.action);
        step.object = from.action == matview::Action::watch ? from.source
                                                            : planned->set.views[from.view].quoted;
        step.reason = from.reason;
        step.informative = from.action == matview::Action::leave;
        if (step.informative)
            return step;
        step.sql = matview::describe_sql(*planned, from);
        step.lock_requests = matview::locks_of(*planned, from);
        step.locks = pg::describe_locks(step.lock_requests);
        step.blocked_by = from.blocked_by;
        step.restricts_itself = true;
        step.apply = [planned, from](std::int64_t lock_budget_us) {
            return result_of(matview::apply(*planned, from, lock_budget_us));
        };
        return step;
    }
};

constinit const MatviewTask the_task;

} // namespace

const jobs::Task& matview_task() { return the_task; }

} // namespace orchestry::api
