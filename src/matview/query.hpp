// What the query of a materialized view reads, as far as the server's own trees of it say: through
// plain views and through functions whose bodies the server has parsed.
#pragma once

#include "pg/spi.hpp"

namespace orchestry::matview {

/// A table that a query reads.
struct SourceTable {
    Oid relid = InvalidOid;
    bool with_heirs = false; ///< and those that inherit from it: not ONLY
};

struct QueryReads {
    std::vector<SourceTable> tables; ///< by OID; of all kinds that are no view
    std::vector<Oid> matviews;       ///< by OID
    std::vector<Oid> views;          ///< plain ones on the way, by OID
    /// Why its result can change although nothing has changed that it is seen to read, as a clause;
    /// empty: it cannot, in a session whose settings are always the same.
    std::string opaque;
    bool has_bodies = false; ///< of functions, through which it reads
    /// Changes when the query does, or a view or a function of a user in it.
    std::uint64_t definition = 0;
};

/// Locks nothing: as of the statement's snapshot. Raises 42704 when there is no such view.
QueryReads read_query(Oid matview);

/// The columns of a materialized view of which no two rows have the same values, because its query
/// groups by them, unquoted; empty: that cannot be seen.
std::vector<std::string> distinct_columns(Oid matview);

} // namespace orchestry::matview
