// Which steps an index needs until it is there, on a table or on every partition. Pure: no server.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace orchestry::migrate {

/// An index as it is found under the name that it should have.
enum class IndexState {
    missing,
    broken,   ///< left over from a build that was interrupted: not valid, and as it should be else
    ready,    ///< valid; or, of a partitioned table, made and waiting for those of the partitions
    stranger, ///< something else has the name
};

/// A table of the family that gets the index: the table itself first, each partition after the
/// table that it is a partition of.
struct IndexTarget {
    std::uint32_t relid = 0;
    std::uint32_t parent = 0; ///< 0: the table itself
    bool is_partitioned = false;
    std::string name;       ///< qualified and quoted
    std::string index_name; ///< unquoted
    IndexState state = IndexState::missing;
    bool is_attached = false; ///< to the index of its parent
    bool is_covered = false;  ///< another index of it is attached there: it needs none
};

enum class IndexAction {
    clear,   ///< drop what an interrupted build has left
    build,   ///< concurrently
    declare, ///< on a partitioned table alone: without the partitions
    attach,
};
const char* to_string(IndexAction action);

struct IndexStep {
    IndexAction action;
    std::uint32_t relid = 0;
    std::string reason;
    std::string blocked_by; ///< not empty: cannot be done, and why
};

/// The steps in their order: what is there already needs none. Each may fail and be planned again.
std::vector<IndexStep> plan_index(const std::vector<IndexTarget>& targets);

/// The name of a partition's index: the partition's and the index's, at most 63 bytes. Longer ones
/// are cut, and end in a hash of the whole.
std::string partition_index_name(const std::string& partition, const std::string& index);

} // namespace orchestry::migrate
