// Retention for people: what each policy of a table does next, and what becomes of each partition
// and when.
#pragma once

#include "catalog/explanation.hpp"
#include "retention/job.hpp"

namespace orchestry::retention {

/// What holds for a retention job, and for each partition of its table and each one in quarantine;
/// of a job that removes single rows, for each table that has some. As the current user, who must
/// have the rights of the table's owner.
std::vector<catalog::Explanation> explain(const catalog::Job& job, base::Instant now);

/// The last line of a timeline: from when on data is kept, and how many partitions lie before that.
/// Nullopt when no policy takes whole partitions of the table.
std::optional<std::string> describe_horizon(Oid relid, base::Instant now);

/// How the keys of a table are to be read by its retention policies.
struct KeyReading {
    std::string time_zone;
    std::optional<std::string> key_unit;
};
/// Nullopt when the table has no retention policy. Raises as catalog::require_key_column() does.
std::optional<KeyReading> key_reading(Oid relid);

} // namespace orchestry::retention
