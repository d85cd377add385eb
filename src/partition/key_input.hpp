// Keys as users give them: of the key's own type, or of another one that says the same.
#pragma once

#include "partition/inspect.hpp"

namespace orchestry::partition {

/// The key that a value of `type` stands for. Times convert into each other in `zone`, and into
/// epochs and uuids; integers are keys; text is read by the key's own type. Raises 42804 for other
/// types, and what the key's type raises for text that it cannot read.
KeyValue read_key(KeyKind kind, const KeyColumn& key, const base::Zone& zone, Oid type,
                  Datum value);

} // namespace orchestry::partition
