#include "retention/report.hpp"

#include <algorithm>

namespace orchestry::retention {

using catalog::Explanation;

namespace {

/// The line of a policy itself. What is planned now comes first, else what the clock brings.
template <typename Steps>
Explanation explain_policy(const catalog::Job& job, const Steps& steps, std::string reason) {
    Explanation line{job.id, job.target_name, "ok", std::move(reason), {}, {}};
    for (const auto& step : steps) {
        const auto& planned = step.planned;
        if (!is_destructive(planned.action))
            continue;
        const bool is_blocked = !planned.blocked_by.empty();
        if (line.state == "ok" || (line.state == "blocked" && !is_blocked)) {
            line.state = is_blocked ? "blocked" : "due";
            line.reason = is_blocked ? planned.blocked_by : planned.reason;
            line.next_action = std::string(to_string(planned.action)) + " " + planned.object;
            line.next_at = job.next_run_at;
        }
    }
    if (job.paused) {
        line.state = "paused";
        line.reason = job.pause_reason;
        line.next_at = std::nullopt;
    }
    return line;
}

/// The line of something that a planned step is about.
template <typename PlannedStep>
Explanation explain_step(const catalog::Job& job, const std::string& object,
                         const PlannedStep& planned) {
    Explanation line{job.id, object, "kept", planned.reason, {}, {}};
    if (!planned.blocked_by.empty())
        line.reason = planned.blocked_by;
    if (!is_destructive(planned.action))
        return line;
    line.state = planned.blocked_by.empty() ? "due" : "blocked";
    line.next_action = to_string(planned.action);
    line.next_at = job.next_run_at;
    return line;
}

class SetReport {
  public:
    SetReport(const catalog::Job& job, base::Instant now)
        : job_(job), now_(now),
          policy_(load_policy(job.id).settings, catalog::require_key_column(job.target)),
          set_(inspect(job.target, policy_.kind(), job.id)), planned_(plan_job(job, now)),
          horizon_(horizon(set_, policy_.plan(), now)) {}

    std::vector<Explanation> lines() const;
    std::string horizon_line() const;

  private:
    const PlannedStep* step_of(std::uint32_t relid) const;
    std::string what_is_kept() const;
    Explanation explain_set() const;
    Explanation explain_partition(const Partition& partition) const;
    Explanation explain_detached(const Detached& detached) const;

    const catalog::Job& job_;
    const base::Instant now_;
    const CheckedPolicy policy_;
    const Set set_;
    const Planned planned_;
    const std::optional<std::int64_t> horizon_;
};

/// The step that says most of a table: what takes it away, else the first; nullptr: nothing is to
/// be done with it.
const PlannedStep* SetReport::step_of(std::uint32_t relid) const {
    const PlannedStep* first = nullptr;
    for (const Step& step : planned_.steps) {
        const PlannedStep& planned = step.planned;
        if (planned.relid != relid || planned.action == Action::announce)
            continue;
        if (is_destructive(planned.action))
            return &planned;
        if (!first)
            first = &planned;
    }
    return first;
}

std::string SetReport::what_is_kept() const {
    return horizon_ ? "keeps what is from " +
                          base::bound_text(set_.kind, base::Bound::value(*horizon_)) + " on"
                    : "keeps all, because it is not known how far the keys have come";
}

Explanation SetReport::explain_set() const {
    Explanation line = explain_policy(job_, planned_.steps, what_is_kept());
    if (line.state != "ok")
        return line;
    // The partition that the clock brings next.
    for (const Partition& partition : set_.partitions) {
        const auto at = due_at(set_, policy_.plan(), partition);
        if (!at || &partition == newest(set_) || is_due(partition, horizon_) ||
            (line.next_at && *line.next_at <= *at))
            continue;
        line.next_action = "detach " + partition.quoted;
        line.next_at = at;
    }
    return line;
}

Explanation SetReport::explain_partition(const Partition& partition) const {
    if (const PlannedStep* const step = step_of(partition.relid))
        return explain_step(job_, partition.quoted, *step);
    Explanation line{job_.id, partition.quoted, "kept", what_is_kept(), {}, {}};
    if (&partition == newest(set_)) {
        line.reason += ", and always the newest partition";
        return line;
    }
    line.next_at = due_at(set_, policy_.plan(), partition);
    if (line.next_at)
        line.next_action = "detach";
    return line;
}

Explanation SetReport::explain_detached(const Detached& detached) const {
    if (const PlannedStep* const step = step_of(detached.relid))
        return explain_step(job_, detached.quoted, *step);
    Explanation line{job_.id, detached.quoted, "quarantine", "was " + detached.former, {}, {}};
    if (policy_.plan().action == Expiry::drop && detached.at) {
        line.next_action = "drop";
        line.next_at = base::add(*policy_.plan().zone, *detached.at, policy_.plan().grace);
    }
    return line;
}

std::vector<Explanation> SetReport::lines() const {
    std::vector<Explanation> lines = {explain_set()};
    for (const Partition& partition : set_.partitions)
        lines.push_back(explain_partition(partition));
    if (set_.fallback)
        if (const PlannedStep* const step = step_of(set_.fallback->relid))
            lines.push_back(explain_step(job_, set_.fallback->quoted, *step));
    for (const Detached& detached : set_.quarantine)
        lines.push_back(explain_detached(detached));
    return lines;
}

std::vector<Explanation> explain_rows(const catalog::Job& job, base::Instant now) {
    const PlannedRowSteps planned = plan_row_job(job, now);
    std::vector<Explanation> lines = {
        explain_policy(job, planned.steps, "no row is to be removed now")};
    for (const RowStep& step : planned.steps)
        if (step.planned.action != RowAction::announce)
            lines.push_back(explain_step(job, step.planned.object, step.planned));
    return lines;
}

} // namespace

std::vector<Explanation> explain(const catalog::Job& job, base::Instant now) {
    const catalog::AsOwner owner(job.target); // a plan looks into the table
    return takes_rows(job) ? explain_rows(job, now) : SetReport(job, now).lines();
}

std::optional<std::string> describe_horizon(Oid relid, base::Instant now) {
    for (const StoredPolicy& stored : find_policies(relid)) {
        if (why_rows(stored.settings, relid))
            continue;
        const CheckedPolicy policy(stored.settings, catalog::require_key_column(relid));
        const Set set = inspect(relid, policy.kind(), stored.job);
        const auto end = horizon(set, policy.plan(), now);
        if (!end)
            return "horizon not known: no key has come";
        const auto due =
            std::count_if(set.partitions.begin(), set.partitions.end(),
                          [&](const Partition& partition) { return is_due(partition, end); });
        return "horizon " + base::bound_text(set.kind, base::Bound::value(*end)) + ", " +
               std::to_string(due) + (due == 1 ? " partition" : " partitions") + " before it";
    }
    return std::nullopt;
}

std::optional<KeyReading> key_reading(Oid relid) {
    const std::vector<StoredPolicy> policies = find_policies(relid);
    if (policies.empty())
        return std::nullopt;
    // One for rows may go by another column, whose unit is not the key's.
    const std::string key = catalog::require_key_column(relid).name;
    for (const StoredPolicy& policy : policies)
        if (policy.settings.time_column.value_or(key) == key)
            return KeyReading{policy.settings.time_zone, policy.settings.key_unit};
    return KeyReading{policies.front().settings.time_zone, std::nullopt};
}

} // namespace orchestry::retention
