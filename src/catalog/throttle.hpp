// Batches that yield to replicas and to VACUUM.
#pragma once

#include "pg/spi.hpp"

namespace orchestry::catalog {

/// Whether the next batch of a step should wait. One object for one step.
class Throttle {
  public:
    /// `table`: whose rows the step removes or changes.
    explicit Throttle(Oid table) : table_(table) {}

    /// Why the next batch has to wait for others that are more important: a streaming replica that
    /// is further behind than orchestry.max_replication_lag, or VACUUM on the table, for which a
    /// step waits five minutes altogether. Empty: it may go.
    std::string why_wait();

  private:
    Oid table_;
    std::int64_t waiting_since_us_ = 0; // for VACUUM; 0: not now
    std::int64_t waited_us_ = 0;        // for it, before that
};

} // namespace orchestry::catalog
