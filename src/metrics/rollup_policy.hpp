// Rollups as the user said them, in orchestry.rollup: checked, written, read, changed.
#pragma once

#include "catalog/job.hpp"
#include "metrics/rollup_plan.hpp"
#include "pg/zone.hpp"

namespace orchestry::metrics {

/// The arguments of create_rollup(). Columns are unquoted.
struct RollupSettings {
    std::string schema; ///< of the view and of the table behind it, unquoted
    std::string name;   ///< of the view, unquoted
    std::string time_column;
    std::string value_column;
    base::Span bucket{0, 0, base::us_per_hour};
    std::vector<std::string> group_by;
    std::optional<std::string> predicate; ///< as the server writes it
    std::optional<base::Span> keep;
    std::string time_zone = "UTC";
    std::optional<catalog::JobId> parent; ///< the finer rollup that it is made of
    auto operator<=>(const RollupSettings&) const = default;

    /// The view, and the table that has its stored buckets: qualified and quoted.
    std::string view() const { return pg::quote_qualified(schema, name); }
    std::string stored() const { return pg::quote_qualified(schema, name + "_buckets"); }
};

/// Settings that are right in themselves, ready for plan().
class CheckedRollup {
  public:
    /// Raises 22023 when a setting is wrong; the message names the argument.
    explicit CheckedRollup(RollupSettings settings);
    CheckedRollup(const CheckedRollup&) = delete;
    CheckedRollup& operator=(const CheckedRollup&) = delete;

    const RollupSettings& settings() const noexcept { return settings_; }
    const RollupPolicy& plan() const noexcept { return plan_; }

  private:
    RollupSettings settings_;
    pg::ServerZone zone_;
    RollupPolicy plan_;
};

struct StoredRollup {
    catalog::JobId job;
    RollupSettings settings;
};
/// The rollup of that schema and name, unquoted; nullopt when there is none.
std::optional<StoredRollup> find_rollup(const std::string& schema, const std::string& name);
/// The rollup of a job as of now, whatever snapshot the transaction has; nullopt when it has none.
std::optional<StoredRollup> find_rollup(catalog::JobId job);
/// The same. Raises 42704 when it has none.
StoredRollup load_rollup(catalog::JobId job);
/// The rollup whose view a relation is; nullopt when it is none.
std::optional<StoredRollup> rollup_of_view(Oid relid);
/// The rollups that are made of another one as of now, in the order of their jobs.
std::vector<StoredRollup> readers_of(catalog::JobId parent);

/// Checks what the user calls the time and the value of a rollup that something is made of: names
/// of the table that it is made of itself, or "bucket" and "summary". Raises 22023 for others.
void require_same_values(const std::string& time_column, const std::string& value_column,
                         const RollupSettings& rollup);
/// Checks that a rollup has these groups, or finer ones. Raises 22023.
void require_groups(const std::vector<std::string>& group_by, const RollupSettings& rollup);

/// What the parent of a rollup, and the parents of that, have yet to compute, in buckets of the
/// rollup; empty for one without parent.
base::InstantSet unready(catalog::JobId job);

/// Writes the settings of a new job, or over those of an old one.
void store_settings(catalog::JobId job, const RollupSettings& settings);

/// The settings with a patch of alter_policy() applied: a jsonb object as text. Raises 22023 for
/// keys that are not settings of a rollup, 0A000 for those that its buckets depend on, and what the
/// types raise for values that cannot be read.
RollupSettings patched(const RollupSettings& settings, const std::string& patch);

} // namespace orchestry::metrics
