#include "base/record_text.hpp"

#include <cctype>

namespace orchestry::base {

namespace {

bool is_escaped(char c) { return c == '"' || c == '\\'; }

bool needs_quotes(const char* field) {
    if (*field == '\0')
        return true;
    for (const char* c = field; *c != '\0'; ++c)
        if (is_escaped(*c) || *c == '(' || *c == ')' || *c == ',' ||
            std::isspace(static_cast<unsigned char>(*c)) != 0) // in the locale, as the server does
            return true;
    return false;
}

} // namespace

void write_record_text(std::string& text, const char* const* fields, int count) {
    text.assign(1, '(');
    for (int i = 0; i < count; ++i) {
        if (i > 0)
            text += ',';
        if (!fields[i])
            continue;
        const bool quoted = needs_quotes(fields[i]);
        if (quoted)
            text += '"';
        for (const char* c = fields[i]; *c != '\0'; ++c) {
            if (is_escaped(*c))
                text += *c;
            text += *c;
        }
        if (quoted)
            text += '"';
    }
    text += ')';
}

} // namespace orchestry::base
