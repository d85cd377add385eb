#include "matview/manage.hpp"

#include <algorithm>

#include "capture/capture.hpp"
#include "capture/ddl.hpp"
#include "catalog/dirty.hpp"
#include "catalog/refresh_state.hpp"
#include "catalog/settings.hpp"
#include "matview/apply.hpp"

namespace orchestry::matview {

using base::Error;
using base::Instant;
using catalog::Explanation;
using catalog::Job;
using catalog::JobId;
namespace errc = base::errc;

namespace {

std::string require_matview(Oid relid) {
    const std::string name = pg::require_relation_name(relid);
    if (pg::call<get_rel_relkind>(relid) != RELKIND_MATVIEW)
        throw Error(errc::wrong_object_type, name + " is not a materialized view");
    catalog::require_owner_of(relid);
    return name;
}

std::optional<Job> find_job(Oid matview) {
    std::vector<Job> jobs = catalog::jobs_of(matview);
    std::erase_if(jobs, [](const Job& job) { return job.kind != "matview"; });
    if (jobs.empty())
        return std::nullopt;
    return std::move(jobs.front());
}

/// Already there with these settings: its job. With others: 42710.
std::optional<JobId> known_job(Oid matview, const std::string& name, const Settings& settings,
                               std::int64_t max_runtime_us, const std::string& schedule) {
    const std::optional<Job> job = find_job(matview);
    if (!job)
        return std::nullopt;
    if (load_settings(job->id) == settings && job->schedule == schedule &&
        job->max_runtime_us == max_runtime_us) {
        pg::report(NOTICE, "materialized view " + name + " has this refresh policy already");
        return job->id;
    }
    const std::string id = std::to_string(job->id.value);
    throw Error(errc::duplicate_object,
                "materialized view " + name + " has a refresh policy already")
        .detail("It is job " + id + ".")
        .hint("Run SELECT orchestry.alter_policy(" + id +
              ", '{\"max_staleness\": ...}'); with what is to change.");
}

void require_everywhere(const Policy& policy) {
    if (policy.detection == Detection::triggers && !capture::is_everywhere())
        throw Error(errc::not_prerequisite_state,
                    "change detection by triggers needs the library to be preloaded")
            .detail("Otherwise a TRUNCATE, or a partition that comes or goes, would not be seen in "
                    "sessions that have not loaded it.")
            .hint("Put orchestry_ext into shared_preload_libraries and restart the server, or say "
                  "change_detection => 'none'.");
}

/// Tells why the view is never skipped.
void announce(const Job& job) {
    const InspectedSet set = Inspector().read(job);
    const View& view = set.views[set.target];
    if (view.opaque.empty() || view.policy.detection == Detection::none)
        return;
    const std::string alter = "SELECT orchestry.alter_policy(" + std::to_string(job.id.value);
    std::string hint;
    if (!set.details[set.target].settings.assume_pure)
        hint = "If that does not matter: " + alter + ", '{\"assume_pure\": true}');";
    else if (view.policy.detection == Detection::triggers)
        hint =
            "To have changes counted instead: " + alter + ", '{\"change_detection\": \"stats\"}');";
    pg::report(NOTICE, "materialized view " + view.quoted + " is never skipped",
               "Nobody can tell whether it has changed: " + view.opaque + ".", hint);
}

} // namespace

JobId add_policy(Oid matview, const Settings& settings, const base::Span& max_runtime,
                 const std::string& schedule, Instant now) {
    const std::string name = require_matview(matview);
    const Policy policy = check(settings);
    const std::int64_t max_runtime_us = check_length(max_runtime, "max_runtime");
    if (!schedule.empty())
        (void)catalog::parse_schedule(schedule);
    require_everywhere(policy);
    // Of two setups at once, one waits and then finds the other's policy.
    (void)pg::lock_relations({{matview, ShareUpdateExclusiveLock}},
                             catalog::settings::lock_budget_us());
    if (const auto known = known_job(matview, name, settings, max_runtime_us, schedule))
        return *known;
    catalog::require_no_newer_job("matview", matview);
    const JobId job = catalog::insert_job(
        {"matview", matview, schedule, settings.time_zone, max_runtime}, now, now);
    store_settings(job, settings);
    announce(catalog::get_job(job));
    return job;
}

void alter_policy(const Job& job, const std::string& patch) {
    const Settings settings = patched(load_settings(job.id), patch);
    const Policy policy = check(settings);
    require_everywhere(policy);
    store_settings(job.id, settings);
    if (policy.detection != Detection::triggers)
        capture::unwatch_all(job.id);
}

void remove_policy(const Job& job) {
    capture::unwatch_all(job.id);
    catalog::remove_job(job.id);
}

Job require_job(Oid matview) {
    const std::string name = require_matview(matview);
    std::optional<Job> job = find_job(matview);
    if (!job)
        throw Error(errc::undefined_object, "materialized view " + name + " has no refresh policy")
            .hint("Run SELECT orchestry.add_refresh_policy(" + pg::quote_literal(name) + ");");
    return *std::move(job);
}

void force(JobId job) { catalog::mark(job, catalog::all_time); }

// --- what is right already ----------------------------------------------------------------------

namespace {

bool is_idle(const std::vector<Step>& steps) {
    return std::all_of(steps.begin(), steps.end(),
                       [](const Step& step) { return step.action == Action::leave; });
}

/// Of a view that is left alone, so it has been refreshed.
catalog::RefreshProof proof_of(const Job& job, const InspectedSet& set, Instant now) {
    return {job.id, {*set.views[set.target].refreshed_at, proven_at(set.views, set.target, now)}};
}

} // namespace

std::vector<JobId> settled(const std::vector<Job>& jobs, Instant now) {
    Inspector inspector(jobs);
    std::vector<JobId> idle;
    std::vector<catalog::RefreshProof> proofs;
    for (const Job& job : jobs) {
        const InspectedSet set = inspector.read(job);
        if (!is_idle(plan(set.views, set.target, now)))
            continue;
        idle.push_back(job.id);
        proofs.push_back(proof_of(job, set, now));
    }
    catalog::record_proofs(proofs);
    return idle;
}

void settle(const Job& job, Instant now) {
    const InspectedSet set = Inspector().read(job);
    if (is_idle(plan(set.views, set.target, now)))
        catalog::record_proofs({proof_of(job, set, now)});
}

std::vector<Oid> ancestors(const Job& job) {
    const InspectedSet set = Inspector().read(job);
    std::vector<Oid> views;
    for (const View& view : set.views)
        if (view.relid != job.target)
            views.push_back(view.relid);
    return views;
}

// --- explanation --------------------------------------------------------------------------------

std::vector<Explanation> explain(const Job& job, Instant now) {
    const Planned planned = plan_job(job, now);
    std::optional<Instant> due = job.next_run_at;
    if (due)
        due = catalog::due_at(job.id, *due);
    std::vector<Explanation> lines;
    for (const Step& step : planned.steps) {
        const View& view = planned.set.views[step.view];
        Explanation line{job.id, view.quoted, {}, step.reason, {}, {}};
        if (step.action == Action::leave) {
            line.state = "fresh";
            line.next_action = "check";
            line.next_at = due;
        } else {
            line.object = step.action == Action::watch ? step.source : view.quoted;
            line.state = !step.blocked_by.empty()       ? "blocked"
                         : step.action == Action::watch ? "unwatched"
                                                        : "stale";
            line.reason = step.blocked_by.empty() ? step.reason : step.blocked_by;
            if (step.blocked_by.empty()) {
                line.next_action = to_string(step.action);
                line.next_at = due;
            }
        }
        lines.push_back(std::move(line));
    }
    const View& target = planned.set.views[planned.set.target];
    if (!target.opaque.empty())
        lines.push_back({job.id, target.quoted, "never skipped", target.opaque, {}, {}});
    if (const auto index = suggested_index(target))
        lines.push_back({job.id,
                         target.quoted,
                         "no key",
                         "with a unique index readers need not wait for its refresh",
                         *index,
                         {}});
    return lines;
}

} // namespace orchestry::matview
