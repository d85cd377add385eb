// Knowing cheaply that there is nothing to do: after a full look at a set it is remembered until
// when nothing can be due, together with a fingerprint of the set's partitions.
#pragma once

#include "partition/policy.hpp"

namespace orchestry::partition {

/// Remembers that the set of a job is quiet, or that this is not known. To be called after a run.
void remember_quiet(const catalog::Job& job, base::Instant now);

} // namespace orchestry::partition
