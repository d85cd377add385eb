// A time by which what runs in a scope must have come to its end.
#pragma once

#include "pg/guard.hpp"

namespace orchestry::pg {

/// Cancels whatever runs in this process (57014) when the scope lasts longer than it may. One at a
/// time.
class Deadline {
  public:
    explicit Deadline(std::int64_t budget_us);
    ~Deadline();
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;

    /// Whether it has passed.
    bool passed() const noexcept;

  private:
    TimeoutId id_;
};

} // namespace orchestry::pg
