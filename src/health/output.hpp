// How health writes what it finds.
#pragma once

#include "pg/scope.hpp"

namespace orchestry::health {

/// For as long as the level lasts, names are qualified and times written in the same way, whatever
/// the session's settings are.
inline void set_plain_output(pg::GucLevel& guc) {
    guc.set("search_path", "pg_catalog, pg_temp");
    guc.set("datestyle", "ISO, YMD");
    guc.set("intervalstyle", "postgres");
}

} // namespace orchestry::health
