// Event compression policies as the user said them, in orchestry.event_policy: checked, written,
// read, changed.
#pragma once

#include "catalog/job.hpp"
#include "events/plan.hpp"
#include "pg/zone.hpp"

namespace orchestry::events {

/// The arguments of add_event_compression_policy(), with what they leave open filled in.
struct Settings {
    base::Span older_than{0, 0, 0};
    std::string into_table; ///< qualified and quoted
    base::Span bucket{0, 0, base::us_per_hour};
    std::string time_column;
    std::vector<std::string> group_by;
    std::optional<std::string> count_values_of;
    std::optional<std::string> sample_of;
    std::int32_t samples = 5;
    std::string time_zone = "UTC";
    auto operator<=>(const Settings&) const = default;
};

/// Settings that are right in themselves, ready for plan().
class CheckedPolicy {
  public:
    /// Raises 22023 when a setting is wrong; the message names the argument.
    explicit CheckedPolicy(Settings settings);
    CheckedPolicy(const CheckedPolicy&) = delete;
    CheckedPolicy& operator=(const CheckedPolicy&) = delete;

    const Settings& settings() const noexcept { return settings_; }
    const Policy& plan() const noexcept { return plan_; }

  private:
    Settings settings_;
    pg::ServerZone zone_;
    Policy plan_;
};

/// The compression job of a table and its settings; nullopt when it has none.
struct StoredPolicy {
    catalog::JobId job;
    Settings settings;
};
std::optional<StoredPolicy> find_policy(Oid relid);
/// The policy of a job. Raises 42704 when it has none.
StoredPolicy load_policy(catalog::JobId job);

/// Writes the settings of a new job, or over those of an old one.
void store_settings(catalog::JobId job, const Settings& settings);

/// The settings with a patch of alter_policy() applied: a jsonb object as text. Raises 22023 for
/// keys that are not settings of a compression policy, 0A000 for those that the rows of the target
/// depend on, and what the types raise for values that cannot be read.
Settings patched(const Settings& settings, const std::string& patch);

} // namespace orchestry::events
