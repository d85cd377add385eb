// Retention policies as the user said them, in orchestry.retention_policy: checked, written, read,
// changed.
#pragma once

#include "catalog/job.hpp"
#include "catalog/partitioned_table.hpp"
#include "pg/zone.hpp"
#include "retention/plan.hpp"

namespace orchestry::retention {

/// The arguments of add_retention_policy(). Of `keep` and `keep_keys` exactly one is set.
struct Settings {
    std::optional<base::Span> keep;
    std::optional<std::int64_t> keep_keys;
    std::optional<std::string> time_column; ///< nullopt: the partition key
    std::optional<std::string> predicate;   ///< the argument "where"
    std::string action = "drop";            ///< drop or detach
    base::Span grace{0, 7, 0};
    std::optional<std::string> archive_to;
    std::optional<std::int32_t> keep_last;
    std::vector<std::string> keep_last_by;
    std::int32_t batch_rows = 10'000;
    std::string time_zone; ///< empty: that of the table's partition policy, else UTC
    std::optional<std::string>
        key_unit; ///< s, ms, us or ns; nullopt: what the partition policy or the key's type says
    auto operator<=>(const Settings&) const = default;
};

/// What the settings leave open, taken from the table's partition policy, if it has one.
Settings completed(Settings settings, Oid relid);

/// Why the settings select single rows and not whole partitions: a sentence; nullopt when they do
/// not. Raises 42703 when the time column does not exist.
std::optional<std::string> why_rows(const Settings& settings, Oid relid);

/// Settings that fit the key of their table, ready for plan(). For whole partitions.
class CheckedPolicy {
  public:
    /// Raises 22023 when the settings are wrong in themselves or do not fit the key; the message
    /// names the argument.
    CheckedPolicy(Settings settings, const catalog::KeyColumn& key);
    CheckedPolicy(const CheckedPolicy&) = delete;
    CheckedPolicy& operator=(const CheckedPolicy&) = delete;

    const Settings& settings() const noexcept { return settings_; }
    base::KeyKind kind() const noexcept { return kind_; }
    const Policy& plan() const noexcept { return plan_; }
    Policy& plan() noexcept { return plan_; }

  private:
    Settings settings_;
    base::KeyKind kind_;
    pg::ServerZone zone_;
    Policy plan_;
};

/// A retention job of a table and its settings.
struct StoredPolicy {
    catalog::JobId job;
    Settings settings;
    bool announced = false; ///< the history says what the first removal takes
    /// What "where" reads has still the names that it had, and no other column has.
    bool has_its_columns = true;
};
/// The retention policies of a table, in the order in which they were made.
std::vector<StoredPolicy> find_policies(Oid relid);
/// The policy of a job. Raises 42704 when it has none.
StoredPolicy load_policy(catalog::JobId job);

/// Writes the settings of a new job, or over those of an old one.
void store_settings(catalog::JobId job, const Settings& settings);
/// Remembers which columns of its table the "where" of a job reads.
void store_columns(catalog::JobId job, Oid relid, const std::optional<std::string>& predicate);
/// Remembers that the first removal was announced.
void store_announced(catalog::JobId job, base::Instant at);

/// The settings with a patch of alter_policy() applied: a jsonb object as text. Raises 22023 for
/// keys that are not settings of a retention policy, and what the types raise for values that
/// cannot be read.
Settings patched(const Settings& settings, const std::string& patch);
/// Whether a patch says anew which rows are meant.
bool changes_where(const std::string& patch);

} // namespace orchestry::retention
