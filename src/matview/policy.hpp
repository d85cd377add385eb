// Refresh policies as the user said them, in orchestry.refresh_policy: checked, written, changed.
#pragma once

#include "catalog/job.hpp"
#include "matview/plan.hpp"

namespace orchestry::matview {

/// The arguments of add_refresh_policy().
struct Settings {
    base::Span max_staleness{0, 0, base::us_per_hour};
    std::string mode = "auto";
    std::string change_detection = "triggers";
    base::Span max_unverified{0, 1, 0};
    bool assume_pure = false;
    std::string time_zone = "UTC";
    auto operator<=>(const Settings&) const = default;
};

/// The settings, ready for plan(). Raises 22023 when one is wrong; the message names the argument.
Policy check(const Settings& settings);

/// The length of an interval of days, hours and less, in microseconds. Raises 22023, naming the
/// argument, when it is longer than a hundred years, shorter than a second, or has months.
std::int64_t check_length(const base::Span& span, const char* name);

/// The settings of a job. Raises 42704 when it has none.
Settings load_settings(catalog::JobId job);
/// Writes the settings of a new job, or over those of an old one.
void store_settings(catalog::JobId job, const Settings& settings);

/// The settings with a patch of alter_policy() applied: a jsonb object as text. Raises 22023 for
/// keys that are not settings of a refresh policy, 0A000 for time_zone, and what the types raise
/// for values that cannot be read.
Settings patched(const Settings& settings, const std::string& patch);

} // namespace orchestry::matview
