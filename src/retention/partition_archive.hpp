// Partitions that move into an archive as a whole: what has to be alike for that, and how they go.
// The archive is a table that is partitioned as their own one is. Before a partition moves it gets
// a constraint that says what its bounds say, and that is validated beside readers and writers:
// without it the server would read all of the partition while it keeps everybody from both tables.
#pragma once

#include "pg/lock.hpp"
#include "retention/row_policy.hpp"

namespace orchestry::retention {

/// Why no partition of the policy's table can move into its archive as a whole, to go on after
/// "because"; empty: some may. For policies with an archive that is a table, by the table's
/// partition key.
std::string why_none_moves(Oid relid, const CheckedRowPolicy& policy);

/// Why a partition of the table, which is no partitioned one, cannot, where some may; empty: it
/// can, and the archive has no place for single rows of it.
/// `archive` and `holds`: as they are now; read once for all partitions of a plan.
std::string why_it_does_not_move(Oid relid, Oid partition, const base::Range& range,
                                 const catalog::PartitionedTable& archive,
                                 const catalog::Holds& holds);
/// Whether an archive has a place for some rows of a range.
bool has_place(const catalog::PartitionedTable& archive, const base::Range& range);
/// The archive, where why_none_moves() has no objection.
catalog::PartitionedTable read_archive(const CheckedRowPolicy& policy);

/// What a partition that moves has yet to go through. Each is a transaction of its own.
enum class MoveStage {
    constrain, ///< the constraint is added, which locks the partition for a moment
    validate,  ///< it is validated, which reads the partition
    move,      ///< the partition moves
};
/// How a partition moves.
struct Move {
    Oid relid = InvalidOid;     ///< the policy's table
    Oid archive = InvalidOid;   ///< the table that it goes to
    Oid partition = InvalidOid; ///< what moves
    base::KeyKind kind = base::KeyKind::timestamptz;
    base::Range range;
    std::string time_column; ///< quoted
};
/// What comes next for a partition.
MoveStage move_stage(const Move& move);
/// What a stage executes, in order. The partition keeps its name and its schema. It loses the
/// privileges that others have on it: the archive's count from then on.
std::vector<std::string> move_sql(const Move& move, MoveStage stage);
/// What a stage locks, in the order in which all steps of retention do.
std::vector<pg::LockRequest> move_locks(const Move& move, MoveStage stage);
/// Executes a stage, under its locks, as the owner of the table. Raises what the server objects to.
void carry_out(const Move& move, MoveStage stage);

} // namespace orchestry::retention
