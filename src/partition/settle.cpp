#include "partition/settle.hpp"

#include <algorithm>

namespace orchestry::partition {

namespace {

/// Until when the job has nothing to do; nullopt when it has, or nobody knows.
std::optional<base::Instant> quiet_until(const catalog::Job& job, base::Instant now) {
    const CheckedPolicy policy(load_settings(job.id), catalog::require_key_column(job.target),
                               Names::checked_before);
    const Set set = inspect(job.target, policy.kind());
    const std::vector<PlannedStep> steps = plan_inspected(set, policy.plan(), now);
    if (set.retention_runs || // which may leave a detach to us yet
        std::any_of(steps.begin(), steps.end(),
                    [](const PlannedStep& s) { return s.action != Action::leave; }))
        return std::nullopt;
    return quiet_until(set, policy.plan(), now);
}

} // namespace

void remember_quiet(const catalog::Job& job, base::Instant now) {
    if (!pg::relation_name(job.target))
        return; // dropped meanwhile
    // The fingerprint first: what changes after it is noticed.
    const std::int64_t fingerprint = catalog::fingerprints({job.target}).front();
    catalog::settle(job, fingerprint, now, quiet_until(job, now));
}

} // namespace orchestry::partition
