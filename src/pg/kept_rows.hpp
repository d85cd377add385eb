// The rows of a query, kept aside for a statement that writes: such a statement itself is never run
// in parallel, while the query is.
#pragma once

#include "pg/spi.hpp"

namespace orchestry::pg {

class KeptRows : Scoped {
  public:
    enum class Seeing { committed_now, active_snapshot };
    /// Runs `query`, in parallel where the server finds that better, and keeps its rows, beyond
    /// work_mem on disk. While the object lives, statements of `spi`, which must outlive it, read
    /// them as the table `name`, a literal.
    KeptRows(Spi& spi, const char* name, const std::string& query,
             Seeing seeing = Seeing::committed_now);
    ~KeptRows();
    KeptRows(const KeptRows&) = delete;
    KeptRows& operator=(const KeptRows&) = delete;

  private:
    Tuplestorestate* rows_ = nullptr;
};

} // namespace orchestry::pg
