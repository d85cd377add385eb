// What users ask for right now: a policy, a change of it, and whether its numbers are right.
#pragma once

#include "events/apply.hpp"

namespace orchestry::events {

/// The arguments of add_event_compression_policy() that may be left out.
struct Wishes {
    std::optional<std::string> into_table;
    std::optional<std::string> time_column;
};

/// What add_policy() has made.
struct Added {
    catalog::JobId job;
    /// The target, if it was made, and made partitioned: it wants partitions, of this width, back
    /// to the oldest of the source.
    Oid partitioned_target = InvalidOid;
    base::Span partition_width{0, 0, 0};
    base::Span past{0, 0, 0};
};

/// Gives a table an event compression policy, and makes its target if there is none. Removes
/// nothing: the first run comes with the schedule's next slot, so that there is time to look at
/// orchestry.plan(). The caller must own the table. Asked for the same again, it says so in a
/// NOTICE and changes nothing. Raises, with nothing changed: 42501, 42703, 42809 for what is no
/// permanent table or a target that does not fit, 22023 for what is wrong, 42710 when the table has
/// another policy, 55P03 when somebody else changes it.
Added add_policy(Oid source, Settings settings, const Wishes& wishes, const std::string& schedule,
                 base::Instant now);

/// Changes the settings of a policy. Raises as patched() and CheckedPolicy do.
void alter_policy(const catalog::Job& job, const std::string& patch);

/// A row of the target that cannot be right.
struct Finding {
    base::Instant bucket{0};
    std::string groups; ///< a jsonb object as text
    std::int64_t event_count = 0;
    std::string problem;
};
/// Checks the rows of a table's target in themselves. Raises 42704 when the table has no policy,
/// 42501 unless the caller owns it, and as require_target() does.
std::vector<Finding> verify(Oid source);

} // namespace orchestry::events
