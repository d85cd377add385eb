// What users ask for right now: a refresh policy, its end, a change, an explanation.
#pragma once

#include "catalog/explanation.hpp"
#include "matview/policy.hpp"

namespace orchestry::matview {

/// Gives a materialized view a policy, with a job that is due at once. `schedule`: empty for by
/// deadline. The caller must own the view. Asked for the same again, it says so in a NOTICE and
/// changes nothing. Raises, with nothing changed: 42809 for what is no materialized view, 42501,
/// 22023 for settings that are wrong, 42710 when it has another policy, 40001 when it has one that
/// the transaction's snapshot does not show, 55000 when the library is not preloaded and
/// change_detection is triggers.
catalog::JobId add_policy(Oid matview, const Settings& settings, const base::Span& max_runtime,
                          const std::string& schedule, base::Instant now);

/// Changes the settings of a policy. Raises as patched() and add_policy() do, and 55P03 when
/// triggers are to go and their tables are not had in time.
void alter_policy(const catalog::Job& job, const std::string& patch);

/// Removes a job, its policy, and the triggers that it has put on tables. Raises 55P03.
void remove_policy(const catalog::Job& job);

/// The job of a materialized view. Raises 42704 when it has none.
catalog::Job require_job(Oid matview);

/// The next run refreshes the view, whatever has changed.
void force(catalog::JobId job);

/// Which of some jobs certainly have nothing to do at `now`; remembers that.
std::vector<catalog::JobId> settled(const std::vector<catalog::Job>& jobs, base::Instant now);

/// The view of a job that has nothing to do is right at `now`, as far as that is known: remembers
/// it.
void settle(const catalog::Job& job, base::Instant now);

/// The materialized views that a job's view reads, directly or not, with policies of their own.
std::vector<Oid> ancestors(const catalog::Job& job);

/// What holds for a view: what is next and why, why it is never skipped, which index it lacks.
std::vector<catalog::Explanation> explain(const catalog::Job& job, base::Instant now);

} // namespace orchestry::matview
