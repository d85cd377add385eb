// The ledger of migrations: which texts were applied in this database, by whom and when.
#pragma once

#include <optional>
#include <string>

namespace orchestry::migrate {

/// Runs a migration's statements as the current user, with the session's settings, unless the user
/// has applied this version before, in the current transaction: all of it is done and recorded, or
/// nothing. Returns whether it was run. Raises 55000 when the version was applied with another
/// text, 42601 and 0A000 for texts that cannot be run in one transaction, and what the statements
/// raise, with the number of the statement in its context.
///
/// Each role has versions of its own: nobody can make another's migration look applied.
bool apply_migration(const std::string& version, const std::string& sql,
                     const std::optional<std::string>& description);

/// What the ledger of the current user says of a text.
enum class Verdict { match, changed, unknown };
Verdict verify_migration(const std::string& version, const std::string& sql);
const char* to_string(Verdict verdict);

} // namespace orchestry::migrate
