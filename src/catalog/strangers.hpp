// Tables that are read together and belong to several roles.
#pragma once

#include "catalog/job.hpp"

namespace orchestry::catalog {

/// A table of a role for which another may not act, and that is no superuser: superusers win
/// nothing by the rights of others.
struct StrangersPart {
    Oid relid = InvalidOid;
    std::string name; ///< qualified, quoted
    std::string role; ///< whose it is
    std::string remedy;
};

/// The first such table for `role` among one and all below it.
std::optional<StrangersPart> find_strangers_part(Oid relid, Oid role);

/// The first table, among one and all below it where it is partitioned, of a role for which the
/// owner of the one may not act, and the command that mends that; empty: there is none. To plan a
/// query of such a table runs functions of that role's, in its indexes, with the owner's rights.
std::string strangers_part(Oid relid);

/// Raises 42501 when there is one.
void require_no_strangers_part(Oid relid);

} // namespace orchestry::catalog
