#include "partition/settle.hpp"

#include <algorithm>

namespace orchestry::partition {

namespace {

/// A set is remembered to be quiet for exactly so long. That the span is always the same tells when
/// it began: should the clock be set back to before that, the past that the policy asks for is
/// another one.
constexpr std::int64_t quiet_span_us = 4 * base::us_per_hour;

bool is_quiet(const catalog::Job& job, base::Instant now) {
    const CheckedPolicy policy(load_settings(job.id), catalog::require_key_column(job.target),
                               Names::checked_before);
    const Set set = inspect(job.target, policy.kind());
    const std::vector<PlannedStep> steps = plan_inspected(set, policy.plan(), now);
    if (std::any_of(steps.begin(), steps.end(),
                    [](const PlannedStep& s) { return s.action != Action::leave; }))
        return false;
    const std::optional<base::Instant> until = quiet_until(set, policy.plan(), now);
    return until && until->us - now.us >= quiet_span_us;
}

} // namespace

void remember_quiet(const catalog::Job& job, base::Instant now) {
    if (!pg::relation_name(job.target))
        return; // dropped meanwhile
    // The fingerprint first: what changes after it is noticed.
    const std::int64_t fingerprint = catalog::fingerprints({job.target}).front();
    if (is_quiet(job, now))
        catalog::store_settlement(job.id, fingerprint, base::plus(now, quiet_span_us));
    else if (job.settled_until)
        catalog::store_settlement(job.id, std::nullopt, std::nullopt);
}

std::vector<catalog::JobId> quiet_jobs(const std::vector<catalog::Job>& jobs, base::Instant now) {
    std::vector<catalog::Job> candidates;
    std::copy_if(jobs.begin(), jobs.end(), std::back_inserter(candidates),
                 [&](const catalog::Job& job) {
                     return job.settled_until && now < *job.settled_until &&
                            job.settled_until->us - now.us <= quiet_span_us;
                 });
    return catalog::unchanged(candidates);
}

} // namespace orchestry::partition
