// Tables that are read together and belong to several roles.
#pragma once

#include "catalog/job.hpp"

namespace orchestry::catalog {

/// As stranger(), but for superusers, who win nothing by the rights of others.
std::string gaining_stranger(Oid relid, Oid role);

/// The first table, among one and all below it where it is partitioned, of a role for which the
/// owner of the one may not act, and the command that mends that; empty: there is none. To plan a
/// query of such a table runs functions of that role's, in its indexes, with the owner's rights.
std::string strangers_part(Oid relid);

/// Raises 42501 when there is one.
void require_no_strangers_part(Oid relid);

} // namespace orchestry::catalog
