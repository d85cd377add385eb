// A row as text, written as the server writes a composite value: what of a row a checksum is made
// of, whether the row comes from a table or from a file.
#pragma once

#include <string>

namespace orchestry::base {

/// Writes the text of a row into `text`, over what was there. `fields`: `count` values as text;
/// nullptr is NULL.
void write_record_text(std::string& text, const char* const* fields, int count);

} // namespace orchestry::base
