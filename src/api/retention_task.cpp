#include "api/retention_task.hpp"

#include <memory>

#include "catalog/settings.hpp"
#include "retention/file_archive.hpp"
#include "retention/job.hpp"
#include "retention/manage.hpp"

namespace orchestry::api {

namespace {

using catalog::Job;
using catalog::JobId;

/// What the history says of a detach: which of the two ways it went.
constexpr const char* detached_concurrently = "detached concurrently";
constexpr const char* detached_plainly = "detached in one transaction";

std::string joined(const std::vector<std::string>& statements) {
    std::string sql;
    for (const std::string& statement : statements)
        sql += (sql.empty() ? "" : "\n") + statement + ";";
    return sql;
}

class RetentionTask : public jobs::Task {
  public:
    const char* kind() const noexcept override { return "retention"; }

    void begin(const Job& job, base::Instant now) const override {
        retention::check_clock(job, now);
    }

    std::vector<jobs::Step> plan(const Job& job, base::Instant now) const override {
        std::vector<jobs::Step> steps =
            retention::takes_rows(job) ? row_steps(job, now) : partition_steps(job, now);
        add_left_files(job, steps);
        return steps;
    }

    std::vector<JobId> settled(const std::vector<Job>& jobs, base::Instant now) const override {
        return catalog::settled(jobs, now);
    }

    void settle(const Job& job, base::Instant now) const override {
        retention::remember_quiet(job, now);
    }

    /// Rows that have left for a file that has no name yet are nowhere else, and no run would give
    /// it one any more.
    void remove(const Job& job) const override {
        catalog::remove_job(job.id);
        if (auto failure =
                pg::in_subtransaction([&] { (void)retention::publish_archive_file(job.id); })) {
            failure->message = "a file of the policy did not get its name: " + failure->message;
            failure->hint += (failure->hint.empty() ? "" : " ");
            failure->hint += "A run of the table's next retention policy gives it its name.";
            pg::report(WARNING, *failure);
        }
    }

    /// Rows that reference others go first, or the others could not go; and of one table, rows that
    /// go into an archive before whole partitions.
    std::vector<Oid> goes_after(const Job& job) const override {
        std::vector<Oid> tables;
        if (!retention::takes_rows(job))
            tables.push_back(job.target);
        for (const retention::ForeignKey& key : retention::foreign_keys_to(job.target))
            tables.push_back(key.relid);
        return tables;
    }

    void alter(const Job& job, const std::string& settings) const override {
        retention::alter_policy(job, settings, catalog::settings::now());
    }

  private:
    static std::vector<jobs::Step> partition_steps(const Job& job, base::Instant now) {
        retention::Planned planned = retention::plan_job(job, now);
        const auto basis = std::make_shared<const retention::Basis>(std::move(planned.basis));
        std::vector<jobs::Step> steps;
        for (retention::Step& step : planned.steps)
            steps.push_back(
                step_of(basis, std::make_shared<const retention::Step>(std::move(step))));
        return steps;
    }

    /// After all others, and no reason for the run to fail: what becomes of these files is no
    /// matter of the policy.
    static void add_left_files(const Job& job, std::vector<jobs::Step>& steps) {
        for (const catalog::ArchiveFile& file : retention::left_files(job.target)) {
            jobs::Step step;
            step.action = to_string(retention::RowAction::publish);
            step.object = pg::relation_name(job.target).value_or("");
            step.reason = "a file with rows of " + file.part_name +
                          " is complete, its policy was removed, and it gets its name";
            step.apply = [file](std::int64_t) {
                jobs::StepResult result;
                const auto failure = pg::in_subtransaction(
                    [&] { result.message = retention::publish_archive_file(file); });
                if (failure && failure->is(base::errc::query_canceled))
                    pg::raise(*failure);
                if (failure) {
                    result.state = jobs::StepResult::State::skipped;
                    result.message = failure->message;
                }
                return result;
            };
            steps.push_back(std::move(step));
        }
    }

    static std::vector<jobs::Step> row_steps(const Job& job, base::Instant now) {
        retention::PlannedRowSteps planned = retention::plan_row_job(job, now);
        std::vector<jobs::Step> steps;
        for (retention::RowStep& step : planned.steps)
            steps.push_back(row_step_of(planned.basis, std::move(step)));
        return steps;
    }

    static jobs::StepResult result_of(retention::Batch batch) {
        using From = retention::Batch::State;
        using To = jobs::StepResult::State;
        jobs::StepResult result;
        result.state = batch.state == From::more   ? To::more
                       : batch.state == From::wait ? To::later
                       : batch.state == From::done ? To::done
                                                   : To::skipped;
        result.rows = batch.rows;
        result.lock_wait_us = batch.lock_wait_us;
        result.message = std::move(batch.message);
        return result;
    }

    static jobs::Step row_step_of(const retention::RowBasis& basis, retention::RowStep prepared) {
        const retention::PlannedRows& planned = prepared.planned;
        jobs::Step step;
        step.action = retention::to_string(planned.action);
        step.object = planned.object;
        step.reason = planned.reason;
        step.sql = prepared.sql;
        step.lock_requests =
            prepared.move_locks.empty() ? prepared.lock_requests : prepared.move_locks;
        step.locks = pg::describe_locks(step.lock_requests);
        step.destructive = retention::is_destructive(planned.action);
        if (step.destructive || planned.action == retention::RowAction::announce)
            step.rows_estimate = planned.rows;
        step.blocked_by = planned.blocked_by;
        step.informative = planned.action == retention::RowAction::leave;
        step.in_batches = step.destructive;
        if (planned.action == retention::RowAction::announce)
            step.apply = [job = basis.job](std::int64_t) {
                retention::store_announced(job, catalog::settings::now());
                return jobs::StepResult{.message = {}};
            };
        if (planned.action == retention::RowAction::publish)
            step.apply = [job = basis.job](std::int64_t) {
                return jobs::StepResult{.message = retention::publish_archive_file(job)};
            };
        if (step.destructive) {
            const auto removal =
                std::make_shared<retention::RowRemoval>(basis, std::move(prepared));
            step.apply = [removal](std::int64_t lock_budget_us) {
                return result_of(removal->next(lock_budget_us));
            };
        }
        return step;
    }

    static jobs::StepResult result_of(const retention::Step& step,
                                      const retention::Applied& applied, const char* detached) {
        jobs::StepResult result;
        result.lock_wait_us = applied.lock_wait_us;
        result.message = applied.message;
        if (!applied.done) {
            result.state = jobs::StepResult::State::skipped;
            return result;
        }
        // Rows are gone for the table's users with the detach; space comes back with the drop.
        using retention::Action;
        const Action action = step.planned.action;
        const bool drops = action == Action::drop || (action == Action::remove && !detached);
        if (retention::takes_partition(action)) {
            result.rows = step.rows.value_or(0);
            result.message = detached ? detached : "";
        }
        result.bytes = drops ? step.bytes.value_or(0) : 0;
        return result;
    }

    /// What comes after a partition was detached concurrently and is not to stay in quarantine.
    static jobs::StepResult finish(const retention::Basis& basis, const retention::Step& step,
                                   std::int64_t lock_budget_us) {
        const retention::Applied applied = retention::apply(basis, step, lock_budget_us);
        jobs::StepResult result;
        result.lock_wait_us = applied.lock_wait_us;
        result.bytes = applied.done ? step.bytes.value_or(0) : 0;
        result.message = detached_concurrently;
        result.message += applied.done ? ", then dropped" : "; not dropped yet: " + applied.message;
        return result;
    }

    static jobs::Step step_of(const std::shared_ptr<const retention::Basis>& basis,
                              const std::shared_ptr<const retention::Step>& prepared) {
        const retention::PlannedStep& planned = prepared->planned;
        jobs::Step step;
        step.action = retention::to_string(planned.action);
        step.object = planned.object;
        step.reason = planned.reason;
        step.sql = joined(prepared->statements);
        step.locks = pg::describe_locks(prepared->lock_requests);
        step.rows_estimate = prepared->rows;
        step.bytes = prepared->bytes;
        step.destructive = retention::is_destructive(planned.action);
        step.blocked_by = planned.blocked_by;
        step.informative = planned.action == retention::Action::leave;
        step.lock_requests = prepared->lock_requests;
        step.apply = [basis, prepared](std::int64_t lock_budget_us) {
            return result_of(
                *prepared, retention::apply(*basis, *prepared, lock_budget_us),
                prepared->planned.action == retention::Action::detach ? detached_plainly : nullptr);
        };
        if (!prepared->top_level_statement.empty())
            step.top_level = jobs::Step::TopLevel{
                prepared->top_level_statement + ";",
                [basis, prepared](std::int64_t lock_budget_us) {
                    return result_of(
                        *prepared, retention::begin_at_top_level(*basis, *prepared, lock_budget_us),
                        detached_concurrently);
                },
                [prepared] { retention::end_at_top_level(*prepared); },
                {}};
        if (!prepared->afterwards.empty())
            step.top_level->afterwards = [basis, prepared](std::int64_t lock_budget_us) {
                return finish(*basis, prepared->afterwards.front(), lock_budget_us);
            };
        return step;
    }
};

constinit const RetentionTask the_task;

} // namespace

const jobs::Task& retention_task() { return the_task; }

} // namespace orchestry::api
