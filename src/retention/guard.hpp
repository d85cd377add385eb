// No path around a hold: while the library is loaded, DROP TABLE, TRUNCATE, DROP COLUMN, DETACH
// PARTITION, NO INHERIT and whatever cascades to them are refused for held tables, and so is
// dropping the record of the holds.
#pragma once

#include <cstdint>

namespace orchestry::retention {

/// Installs the hooks. Called once, when the library is loaded.
void install_guard();

/// For a scope, the guard lets one table go: that of a step which has looked at the holds itself.
/// All others stay guarded, because the step may run code of the table's owner.
class GuardExemption {
  public:
    explicit GuardExemption(std::uint32_t relid);
    ~GuardExemption();
    GuardExemption(const GuardExemption&) = delete;
    GuardExemption& operator=(const GuardExemption&) = delete;

  private:
    std::uint32_t previous_;
};

} // namespace orchestry::retention
