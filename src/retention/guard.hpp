// No path around a hold: while the library is loaded, DROP TABLE, TRUNCATE, DROP COLUMN, DETACH
// PARTITION and whatever cascades to them are refused for held tables, and so is dropping the
// record of the holds.
#pragma once

namespace orchestry::retention {

/// Installs the hooks. Called once, when the library is loaded.
void install_guard();

/// For a scope, the guard lets statements pass: those of a step that has looked at the holds
/// itself.
class GuardPause {
  public:
    GuardPause();
    ~GuardPause();
    GuardPause(const GuardPause&) = delete;
    GuardPause& operator=(const GuardPause&) = delete;
};

} // namespace orchestry::retention
