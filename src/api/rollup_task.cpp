#include "api/rollup_task.hpp"

#include <memory>

#include "catalog/dirty.hpp"
#include "metrics/rollup_apply.hpp"
#include "metrics/rollup_manage.hpp"

namespace orchestry::api {

namespace {

using catalog::Job;
using catalog::JobId;

class RollupTask : public jobs::Task {
  public:
    const char* kind() const noexcept override { return "rollup"; }

    /// Every transaction of a writer leaves marks; they are made few, so that readers are quick.
    /// What is marked stays the same, so nobody has to be kept out.
    void begin(const Job& job, base::Instant) const override { catalog::gather_marks(job.id); }

    std::vector<jobs::Step> plan(const Job& job, base::Instant now) const override {
        metrics::PlannedRollup planned = metrics::plan_rollup(job, now);
        const auto basis = std::make_shared<const metrics::RollupBasis>(std::move(planned.basis));
        std::vector<jobs::Step> steps;
        for (metrics::RollupStep& step : planned.steps)
            steps.push_back(
                step_of(basis, std::make_shared<const metrics::RollupStep>(std::move(step))));
        return steps;
    }

    /// Rows of any time may change at any time, so no job is known to have nothing to do; and
    /// finding that out is all that a run without work does.
    std::vector<JobId> settled(const std::vector<Job>&, base::Instant) const override { return {}; }
    void settle(const Job&, base::Instant) const override {}

    void alter(const Job& job, const std::string& settings) const override {
        metrics::alter_rollup(job, settings);
    }

    void remove(const Job& job) const override {
        metrics::drop_rollup(metrics::load_rollup(job.id), true);
    }

  private:
    static jobs::Step step_of(const std::shared_ptr<const metrics::RollupBasis>& basis,
                              const std::shared_ptr<const metrics::RollupStep>& planned) {
        jobs::Step step;
        step.action = metrics::to_string(planned->action);
        step.object = basis->shape.view;
        step.reason = planned->reason;
        step.informative = planned->action == metrics::RollupAction::leave;
        if (step.informative)
            return step;
        step.sql = metrics::describe_sql(*basis, *planned);
        step.lock_requests = metrics::locks_of(*basis);
        step.locks = pg::describe_locks(step.lock_requests);
        step.rows_estimate = planned->rows;
        step.destructive = planned->action == metrics::RollupAction::expire;
        step.apply = [basis, planned](std::int64_t lock_budget_us) {
            return jobs::result_of(metrics::apply(*basis, *planned, lock_budget_us));
        };
        step.parts = [basis, planned] {
            std::vector<jobs::Step> parts;
            for (metrics::RollupStep& part : metrics::parts_of(*basis, *planned))
                parts.push_back(
                    step_of(basis, std::make_shared<const metrics::RollupStep>(std::move(part))));
            return parts;
        };
        step.explain = [basis, planned](pg::Failure& failure) {
            metrics::explain(*basis, *planned, failure);
        };
        return step;
    }
};

constinit const RollupTask the_task;

} // namespace

const jobs::Task& rollup_task() { return the_task; }

} // namespace orchestry::api
