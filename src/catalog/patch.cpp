#include "catalog/patch.hpp"

namespace orchestry::catalog {

namespace {

/// A text read as a type.
template <typename Read>
auto read_as(const char* type, const std::string& text, Read read) {
    pg::Spi spi;
    spi.run(std::string("SELECT $1::pg_catalog.") + type, text);
    return read(spi.row(0));
}

} // namespace

const std::string& PatchEntry::text() const {
    if (!value_)
        throw base::Error(base::errc::null_value,
                          "setting \"" + key_ + "\" of a " + kind_ + " policy must not be null")
            .hint("Leave it out to keep what it is.");
    return *value_;
}

base::Span PatchEntry::interval() const {
    return read_as("interval", text(), [](const pg::Row& row) { return row.span(1); });
}

std::int64_t PatchEntry::bigint() const {
    return read_as("int8", text(), [](const pg::Row& row) { return row.bigint(1); });
}

std::int32_t PatchEntry::integer() const {
    return read_as("int4", text(), [](const pg::Row& row) { return row.integer(1); });
}

bool PatchEntry::boolean() const {
    return read_as("bool", text(), [](const pg::Row& row) { return row.boolean(1); });
}

std::vector<PatchEntry> read_patch(const std::string& patch, const char* kind) {
    pg::Spi spi;
    spi.run("SELECT e.key, e.value FROM pg_catalog.jsonb_each_text($1::pg_catalog.jsonb) e", patch);
    std::vector<PatchEntry> entries;
    for (std::uint64_t i = 0; i < spi.rows(); ++i) {
        const pg::Row row = spi.row(i);
        entries.emplace_back(row.text(1),
                             row.is_null(2) ? std::nullopt : std::optional(row.text(2)), kind);
    }
    return entries;
}

} // namespace orchestry::catalog
