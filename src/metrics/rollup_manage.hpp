// What users ask for right now: a rollup, its end, a refresh of some times, and whether it is
// right.
#pragma once

#include <functional>
#include <optional>

#include "metrics/rollup_policy.hpp"

namespace orchestry::metrics {

/// Makes a rollup of a source: its table, its view, its watch, and a job that is due at once. The
/// name is as the user writes it: with a schema, or in that of the source. `parent`: the finer
/// rollup that it is to be made of; a source that is the view of a rollup says the same. The caller
/// must own the source. Asked for the same again, it says so in a NOTICE and changes nothing.
/// Raises, with nothing changed: 42501, 42703, 42804, 42809, 22023 for what does not fit, 42704
/// when there is no such parent, 42710 when the name is another rollup's, 42P07 when it is another
/// table's, 55P03 when the source is not had in time, 55000 when the library is not preloaded.
catalog::JobId create_rollup(const std::string& name, Oid source,
                             const std::optional<std::string>& parent, RollupSettings settings,
                             const std::string& schedule, base::Instant now);

/// The rollup that the user means, with or without a schema. Raises 42704 when there is none.
StoredRollup require_rollup(const std::string& name);

/// Drops a rollup: its job, its watch, its view and, unless `keep_data`, its stored buckets. Raises
/// 42501 unless the caller owns the source, 2BP01 when other rollups are made of it, and 55P03.
void drop_rollup(const StoredRollup& rollup, bool keep_data);

/// Changes the settings of a rollup. Raises as patched() and CheckedRollup do.
void alter_rollup(const catalog::Job& job, const std::string& patch);

/// Marks all buckets of some times, so that the next run computes them; `thaw`: also those whose
/// rows were removed because of their age, but not those that the parent no longer has all buckets
/// of. Raises 22023 when they end before they begin.
void mark_times(const StoredRollup& rollup, const std::optional<base::Instant>& from,
                const std::optional<base::Instant>& to, bool thaw);

/// Compares the settled buckets of some times with the source, as its owner, and calls `use` with
/// bucket, groups as jsonb and problem of each row that differs. One that has a parent is compared
/// with the stored buckets of that, and with the rows of the table where these are still there.
void verify_rollup(const StoredRollup& rollup, const std::optional<base::Instant>& from,
                   const std::optional<base::Instant>& to,
                   const std::function<void(const pg::Row&)>& use);

} // namespace orchestry::metrics
