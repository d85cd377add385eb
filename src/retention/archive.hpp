// Tables that rows are moved to instead of being deleted.
#pragma once

#include "catalog/job.hpp"

namespace orchestry::retention {

/// The table of this name, qualified and quoted; InvalidOid when there is none.
Oid find_archive(const std::string& archive);

/// Makes the archive of a table where there is none: the same columns, with what constrains them
/// and with its indexes, but without defaults, identity, generation and triggers, since all values
/// come from the table; and the columns that only children of the table have. To be called as the
/// table's owner, whose table it becomes. Raises 3F000 when its schema does not exist, 42501 when
/// the owner may not make tables there.
void make_archive(Oid source, const std::string& archive);

/// The columns, quoted and with commas between, in which rows of `leaf` are moved: `table`, which
/// has the policy, or one below it. Raises, when not every row would fit: 42P01 when the archive is
/// gone, 42809 when it is no table, or one that loses its rows where `leaf` does not, 22023 when it
/// is `table` or one of its relatives, 42703 for a column that the archive lacks, 42804 for one of
/// another type, 428C9 for one that only the archive computes, 23502 for one that only the archive
/// has and that needs a value, 42501 when the current user may not write into it.
std::string archived_columns(Oid table, Oid leaf, const std::string& archive);

/// A policy that moves rows of a table into an archive.
struct Archiver {
    catalog::JobId job;
    Oid relid = InvalidOid; ///< the policy's table
    std::string predicate;  ///< which rows it moves, SQL; empty: all
};
/// The policies that move rows of a partition, or of a partitioned table: its own, and those of
/// what it is a partition of and of its partitions.
std::vector<Archiver> archivers_of(Oid relid);

/// The query that finds a row of a partition that an archiver has yet to move. How old it is does
/// not matter: it is to be in the archive before the partition goes.
std::string unarchived_row_sql(const Archiver& archiver, Oid partition);

} // namespace orchestry::retention
