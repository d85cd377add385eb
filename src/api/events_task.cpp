#include "api/events_task.hpp"

#include <memory>

#include "events/manage.hpp"

namespace orchestry::api {

namespace {

using catalog::Job;
using catalog::JobId;

class EventsTask : public jobs::Task {
  public:
    const char* kind() const noexcept override { return "events"; }

    std::vector<jobs::Step> plan(const Job& job, base::Instant now) const override {
        events::Planned planned = events::plan_job(job, now);
        const auto basis = std::make_shared<const events::Basis>(std::move(planned.basis));
        std::vector<jobs::Step> steps;
        for (events::Step& step : planned.steps)
            steps.push_back(step_of(basis, std::move(step)));
        return steps;
    }

    /// Rows of any time may come at any time, so no job is known to have nothing to do; and finding
    /// that out is all that a run without work does.
    std::vector<JobId> settled(const std::vector<Job>&, base::Instant) const override { return {}; }
    void settle(const Job&, base::Instant) const override {}

    void alter(const Job& job, const std::string& settings) const override {
        events::alter_policy(job, settings);
    }

  private:
    static jobs::StepResult result_of(const events::Applied& applied) {
        jobs::StepResult result = jobs::result_of(applied);
        if (applied.more)
            result.state = jobs::StepResult::State::more;
        return result;
    }

    static jobs::Step step_of(const std::shared_ptr<const events::Basis>& basis,
                              events::Step prepared) {
        const events::PlannedStep& planned = prepared.planned;
        jobs::Step step;
        step.action = events::to_string(planned.action);
        step.object = planned.object;
        step.reason = planned.reason;
        step.blocked_by = planned.blocked_by;
        step.informative = planned.action == events::Action::leave;
        if (step.informative)
            return step;
        for (const std::string& statement : prepared.statements)
            step.sql += (step.sql.empty() ? "" : "\n") + statement + ";";
        step.locks = pg::describe_locks(prepared.lock_requests);
        step.rows_estimate = planned.rows;
        step.destructive = true;
        step.lock_requests = prepared.lock_requests;
        const auto compression = std::make_shared<events::Compression>(basis, std::move(prepared));
        step.apply = [compression](std::int64_t lock_budget_us) {
            return result_of(compression->next(lock_budget_us));
        };
        return step;
    }
};

constinit const EventsTask the_task;

} // namespace

const jobs::Task& events_task() { return the_task; }

} // namespace orchestry::api
