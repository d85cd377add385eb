#include "retention/job.hpp"

#include "catalog/archive_file.hpp"
#include "catalog/compression.hpp"
#include "catalog/settings.hpp"

#include <algorithm>

namespace orchestry::retention {

namespace {

std::string veto_of(const catalog::Job& job, base::Instant now) {
    return clock_veto(catalog::next_slot(job, job.trusted_at), now, job.id.value);
}

/// The policy of a job as it is to be planned at `now`.
std::unique_ptr<CheckedPolicy> load(const catalog::Job& job, const StoredPolicy& stored,
                                    base::Instant now) {
    auto policy =
        std::make_unique<CheckedPolicy>(stored.settings, catalog::require_key_column(job.target));
    policy->plan().announced = stored.announced;
    if (now == catalog::settings::now())
        policy->plan().veto = veto_of(job, now);
    return policy;
}

} // namespace

Planned plan_job(const catalog::Job& job, base::Instant now) {
    StoredPolicy stored = load_policy(job.id);
    const auto policy = load(job, stored, now);
    const Set set = inspect(job.target, policy->kind(), job.id);
    return {{job.target, set.quoted, job.id, std::move(stored.settings)},
            prepare(set, plan(set, policy->plan(), now, ServerWorld(set.relid)))};
}

bool takes_rows(const catalog::Job& job) {
    return why_rows(load_policy(job.id).settings, job.target).has_value();
}

PlannedRowSteps plan_row_job(const catalog::Job& job, base::Instant now) {
    StoredPolicy stored = load_policy(job.id);
    CheckedRowPolicy policy(stored.settings, job.target);
    policy.plan().announced = stored.announced;
    if (now == catalog::settings::now())
        policy.plan().veto = veto_of(job, now);
    std::vector<Oid> relatives = catalog::lineage_of(job.target);
    const std::vector<Oid> family = pg::family_of(job.target);
    relatives.insert(relatives.end(), family.begin(), family.end());
    if (const auto compression = catalog::compression_among(relatives))
        policy.plan().veto = "its rows have yet to be compressed: one of the two policies has to "
                             "go, for example SELECT orchestry.remove_policy(" +
                             std::to_string(compression->job.value) + ");";
    if (!stored.has_its_columns)
        policy.plan().veto =
            "a column of its \"where\" was renamed, so that it may mean other rows: "
            "SELECT orchestry.alter_policy(" +
            std::to_string(job.id.value) + ", '{\"where\": \"...\"}');";
    if (const auto file = catalog::unpublished_file(job.id))
        policy.plan().unnamed_file_of = file->part_name;
    const RowTable table = inspect_rows(job.target, policy, now);
    PlannedRowSteps result{{job.target, table.quoted, job.id, std::move(stored.settings)}, {}};
    for (PlannedRows& planned :
         plan_rows(table, policy.plan(), now, ServerRowWorld(job.target, policy, now)))
        result.steps.push_back(prepare_rows(result.basis, policy, std::move(planned)));
    return result;
}

void check_clock(const catalog::Job& job, base::Instant now) {
    if (veto_of(job, now).empty())
        catalog::confirm(job.id, now);
}

void remember_quiet(const catalog::Job& job, base::Instant now) {
    if (takes_rows(job))
        return;
    // The fingerprint first: what changes after it is noticed.
    const std::int64_t fingerprint = catalog::fingerprints({job.target}).front();
    const auto policy = load(job, load_policy(job.id), now);
    const Set set = inspect(job.target, policy->kind(), job.id);
    const std::vector<PlannedStep> steps = plan(set, policy->plan(), now, ServerWorld(set.relid));
    const bool is_quiet = std::all_of(steps.begin(), steps.end(), [](const PlannedStep& step) {
        return step.action == Action::leave && !step.waits;
    });
    const std::optional<base::Instant> until =
        is_quiet ? quiet_until(set, policy->plan(), now) : std::nullopt;
    catalog::settle(job, fingerprint, now, until);
}

} // namespace orchestry::retention
