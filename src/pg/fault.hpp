// Places where tests make a run fail. A build with -DORCHESTRY_FAULT_POINTS counts them and fails
// at the one that orchestry.fault_at names; in any other build they are nothing.
#pragma once

#ifdef ORCHESTRY_FAULT_POINTS

namespace orchestry::pg {

/// Counts; at the orchestry.fault_at-th point of this process since that was set, raises XXF01 at
/// orchestry.fault_level, in processes of
/// the type orchestry.fault_in. `name` says where, in the log. At the point that
/// orchestry.fault_wait names, waits for the advisory lock 1.
void fault_point(const char* name);
/// Defines the settings, and a point in the middle of every commit.
void define_fault_points();
/// Whether orchestry.fault_wrong_order is on: a rollup reads rows before it consumes their marks.
bool wrong_order();

} // namespace orchestry::pg

#define ORCHESTRY_FAULT_POINT(name) ::orchestry::pg::fault_point(name)
#define ORCHESTRY_WRONG_ORDER() ::orchestry::pg::wrong_order()

#else

namespace orchestry::pg {
inline void define_fault_points() {}
} // namespace orchestry::pg

#define ORCHESTRY_FAULT_POINT(name) static_cast<void>(0)
#define ORCHESTRY_WRONG_ORDER() false

#endif
