// Partition policies as the user said them, in orchestry.partition_policy: checked, written, read,
// changed.
#pragma once

#include "catalog/job.hpp"
#include "partition/inspect.hpp"
#include "pg/zone.hpp"

#include <memory>

namespace orchestry::partition {

/// The arguments of add_partition_policy(). Of `every` and `every_keys` exactly one is set; the
/// other fields with the same ending go with it.
struct Settings {
    std::optional<base::Span> every;
    std::optional<base::Span> ahead; ///< nullopt: default_ahead()
    base::Span past{0, 0, 0};
    std::optional<std::int64_t> every_keys;
    std::optional<std::int64_t> ahead_keys; ///< nullopt: default_ahead_steps
    std::int64_t past_keys = 0;
    std::string time_zone = "UTC";
    std::optional<std::string> name_pattern; ///< nullopt: what suits the step
    std::optional<std::string>
        key_unit; ///< s, ms, us, ns or uuidv7; nullopt: the key's type says it
    auto operator<=>(const Settings&) const = default;
};

/// How thoroughly names are checked: stored settings passed the long check when they were written.
enum class Names { unchecked, checked_before };

/// Settings that fit the key of their table, ready for plan().
class CheckedPolicy {
  public:
    /// Raises 22023 when the settings are wrong in themselves or do not fit the key; the message
    /// names the argument.
    CheckedPolicy(Settings settings, const KeyColumn& key, Names names);
    CheckedPolicy(const CheckedPolicy&) = delete;
    CheckedPolicy& operator=(const CheckedPolicy&) = delete;

    const Settings& settings() const noexcept { return settings_; }
    KeyKind kind() const noexcept { return kind_; }
    const Policy& plan() const noexcept { return plan_; }

  private:
    Settings settings_;
    KeyKind kind_;
    pg::ServerZone zone_;
    Policy plan_;
};

/// The partition job of a table and its settings; nullopt when the table has no such policy.
struct StoredPolicy {
    catalog::JobId job;
    Settings settings;
};
std::optional<StoredPolicy> find_policy(Oid parent);
/// As find_policy, but raises 55000 with the command that adds one.
StoredPolicy require_policy(Oid parent);
/// The settings of a job. Raises 42704 when it has none.
Settings load_settings(catalog::JobId job);

/// Writes the settings of a new job, or over those of an old one.
void store_settings(catalog::JobId job, const Settings& settings);

/// The settings with a patch of alter_policy() applied: a jsonb object as text. Raises 22023 for
/// keys that are not settings of a partition policy, and what the types raise for values that
/// cannot be read.
Settings patched(const Settings& settings, const std::string& patch);

} // namespace orchestry::partition
