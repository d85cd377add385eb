#include "api/migrate_task.hpp"

#include <memory>

#include "migrate/backfill.hpp"
#include "migrate/index.hpp"

namespace orchestry::api {

namespace {

using catalog::Job;
using catalog::JobId;

/// Work that is done once and has a job only until then.
class OnceTask : public jobs::Task {
  public:
    /// Until it is done there is something to do.
    std::vector<JobId> settled(const std::vector<Job>&, base::Instant) const override { return {}; }

    /// Who cancels it does not want the scheduler to begin again.
    void cancelled(const Job& job) const override {
        catalog::set_paused(job.id, true, "its run was cancelled; the same call goes on with it");
    }

    void alter(const Job&, const std::string&) const override {
        throw base::Error(base::errc::feature_not_supported,
                          std::string("what is done once has no settings: ") + kind())
            .hint("Remove it with remove_policy(), and call again with other arguments.");
    }
};

class BackfillTask : public OnceTask {
  public:
    const char* kind() const noexcept override { return "backfill"; }

    std::vector<jobs::Step> plan(const Job& job, base::Instant) const override {
        const migrate::BackfillSettings settings = migrate::load_backfill(job.id);
        const std::vector<migrate::BackfillPart> parts = migrate::load_parts(job.id);
        std::vector<jobs::Step> steps;
        if (parts.empty()) {
            jobs::Step step;
            step.action = "backfill";
            step.object = job.target_name;
            step.blocked_by = "where it had got to was not restored: look which rows are done, "
                              "remove job " +
                              std::to_string(job.id.value) + " and call again for the others";
            steps.push_back(std::move(step));
        }
        for (const migrate::BackfillPart& part : parts)
            if (!part.done && pg::relation_name(part.relid))
                steps.push_back(step_of(job, settings, part));
        return steps;
    }

    void settle(const Job& job, base::Instant) const override { migrate::finish_backfill(job); }

  private:
    static jobs::Step step_of(const Job& job, const migrate::BackfillSettings& settings,
                              const migrate::BackfillPart& part) {
        const auto walk = std::make_shared<migrate::BackfillWalk>(job, settings, part);
        jobs::Step step;
        step.action = "backfill";
        step.object = pg::require_relation_name(part.relid);
        step.reason = part.cursor ? "goes on after " + std::to_string(part.rows) + " rows"
                                  : "no row is done yet";
        step.sql = walk->sql();
        step.lock_requests = walk->lock_requests();
        step.locks = pg::describe_locks(step.lock_requests);
        step.rows_estimate = migrate::estimated_rows(part.relid);
        step.in_batches = true;
        step.apply = [walk](std::int64_t lock_budget_us) {
            using From = migrate::BackfillWalk::Batch::State;
            using To = jobs::StepResult::State;
            const migrate::BackfillWalk::Batch batch = walk->next(lock_budget_us);
            jobs::StepResult result;
            result.state = batch.state == From::more   ? To::more
                           : batch.state == From::wait ? To::later
                           : batch.state == From::done ? To::done
                                                       : To::skipped;
            result.rows = batch.rows;
            result.lock_wait_us = batch.lock_wait_us;
            result.message = batch.message;
            return result;
        };
        return step;
    }
};

class IndexTask : public OnceTask {
  public:
    const char* kind() const noexcept override { return "index"; }

    std::vector<jobs::Step> plan(const Job& job, base::Instant) const override {
        std::vector<jobs::Step> steps;
        for (migrate::PreparedIndexStep& step : migrate::plan_index_build(job))
            steps.push_back(
                step_of(job, std::make_shared<const migrate::PreparedIndexStep>(std::move(step))));
        return steps;
    }

    void settle(const Job& job, base::Instant) const override { migrate::finish_index_build(job); }

  private:
    static jobs::Step step_of(const Job& job,
                              const std::shared_ptr<const migrate::PreparedIndexStep>& prepared) {
        jobs::Step step;
        step.action = migrate::to_string(prepared->planned.action);
        step.object = prepared->object;
        step.reason = prepared->planned.reason;
        step.blocked_by = prepared->planned.blocked_by;
        step.sql = prepared->sql;
        step.lock_requests = prepared->lock_requests;
        step.locks = pg::describe_locks(step.lock_requests);
        const auto apply = [job, prepared](std::int64_t lock_budget_us) {
            return jobs::result_of(migrate::apply_index_step(job, *prepared, lock_budget_us));
        };
        if (prepared->is_top_level)
            step.top_level = jobs::Step::TopLevel{prepared->sql, apply, {}, {}};
        else
            step.apply = apply;
        return step;
    }
};

constinit const BackfillTask the_backfill_task;
constinit const IndexTask the_index_task;

} // namespace

const jobs::Task& backfill_task() { return the_backfill_task; }
const jobs::Task& index_task() { return the_index_task; }

} // namespace orchestry::api
