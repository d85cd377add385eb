// What the catalogs say of materialized views, as plain structs. Nothing is locked, and no code of
// users is executed.
#pragma once

#include <map>

#include "matview/policy.hpp"
#include "matview/query.hpp"

namespace orchestry::matview {

/// A view as the catalogs have it.
struct InspectedView {
    View view;
    catalog::JobId job;
    Oid owner = InvalidOid;
    Settings settings;
    bool is_paused = false;
    // What its query reads.
    QueryReads reads;
    std::vector<Oid> tables;     ///< to be watched: heirs apart, partitions not
    std::vector<Oid> unwatched;  ///< the tables of View::unwatched, in the same order
    std::int64_t definition = 0; ///< fingerprint of the query, and of which tables there are
    std::optional<std::int64_t> counters; ///< with stats: fingerprint of their changes
};

/// A view with its lineage, as plan() wants them.
struct InspectedSet {
    std::vector<View> views;
    std::vector<InspectedView> details; ///< of each view
    std::size_t target = 0;
};

/// Reads each view once, however many others read it.
class Inspector {
  public:
    Inspector() = default;
    /// Reads the policies of these jobs in one go.
    explicit Inspector(const std::vector<catalog::Job>& jobs);
    Inspector(const Inspector&) = delete;
    Inspector& operator=(const Inspector&) = delete;

    /// The view of a job with its ancestors; those that the job's owner may not refresh, or whose
    /// jobs are paused, are not ours. Raises 42704 when the job has no policy any more.
    InspectedSet read(const catalog::Job& job);

  private:
    void load(const std::vector<Oid>& matviews);
    const InspectedView* find(Oid matview);

    std::map<Oid, InspectedView> views_; // those with a policy
    std::map<Oid, std::optional<std::int64_t>> known_definition_, known_counters_; // at the refresh
    std::map<Oid, bool> is_marked_;
    std::map<Oid, bool> is_read_;
};

/// An index that would let CONCURRENTLY be used, as a statement; nullopt: there is one already, or
/// none is known.
std::optional<std::string> suggested_index(const View& view);

} // namespace orchestry::matview
