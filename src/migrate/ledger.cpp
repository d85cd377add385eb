#include "migrate/ledger.hpp"

#include "base/text.hpp"
#include "catalog/job.hpp"
#include "pg/statement.hpp"

namespace orchestry::migrate {

namespace {

namespace errc = base::errc;

std::string user_name() {
    return pg::protect([] { return GetUserNameFromId(GetUserId(), false); });
}

std::string sha256(const std::string& text) {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to($1, 'UTF8')), 'hex')",
            text);
    return spi.row(0).text(1);
}

/// What two texts have in common when only an editor or a transfer stands between them.
std::string checksum(const std::string& sql) { return sha256(base::canonical_lines(sql)); }

struct Entry {
    std::string checksum;
    std::string applied_at;
};

std::optional<Entry> find_entry(const std::string& user, const std::string& version) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    if (spi.read_latest("SELECT m.sha256, m.applied_at FROM orchestry.migration m "
                        "WHERE m.applied_by OPERATOR(pg_catalog.=) $1 "
                        "AND m.version OPERATOR(pg_catalog.=) $2",
                        user, version) == 0)
        return std::nullopt;
    return Entry{spi.row(0).text(1), spi.row(0).text(2)};
}

/// `canonical`: the checksum of `sql`. False: the version is there already, or was while we waited
/// for who was applying it.
bool insert_entry(const std::string& user, const std::string& version, const std::string& sql,
                  const std::string& canonical, const std::optional<std::string>& description,
                  std::size_t statements) {
    const std::string raw = sha256(sql);
    const catalog::Elevated elevated;
    pg::Spi spi;
    return spi.run("INSERT INTO orchestry.migration (applied_by, version, description, sha256, "
                   "raw_sha256, statements) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT "
                   "(applied_by, version) DO NOTHING",
                   user, version, description, canonical, raw,
                   static_cast<std::int64_t>(statements)) > 0;
}

void record_duration(const std::string& user, const std::string& version) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("UPDATE orchestry.migration m SET duration = pg_catalog.clock_timestamp() "
            "OPERATOR(pg_catalog.-) m.applied_at WHERE m.applied_by OPERATOR(pg_catalog.=) $1 "
            "AND m.version OPERATOR(pg_catalog.=) $2",
            user, version);
}

} // namespace

bool apply_migration(const std::string& version, const std::string& sql,
                     const std::optional<std::string>& description) {
    if (version.find_first_not_of(" \t\r\n") == std::string::npos)
        throw base::Error(errc::invalid_parameter, "\"version\" must not be empty")
            .hint("For example '2026.11_customer_id'.");
    // Not in the form that is compared: a literal may have ends of lines of its own.
    const std::vector<pg::Statement> statements =
        pg::read_statements(std::string(base::without_byte_order_mark(sql)));
    if (statements.empty())
        throw base::Error(errc::invalid_parameter, "\"sql\" has no statement");
    const std::string user = user_name(), canonical = checksum(sql);
    if (!insert_entry(user, version, sql, canonical, description, statements.size())) {
        const std::optional<Entry> entry = find_entry(user, version);
        if (entry && entry->checksum == canonical)
            return false;
        throw base::Error(errc::not_prerequisite_state,
                          "migration \"" + version + "\" was applied with another text")
            .detail(entry ? "It was applied at " + entry->applied_at + ", with the checksum " +
                                entry->checksum + "."
                          : "Another session has just applied it.")
            .hint("Give the changed text a version of its own.");
    }
    for (std::size_t i = 0; i < statements.size(); ++i) {
        const std::string context =
            "statement " + std::to_string(i + 1) + " of migration \"" + version + "\"";
        const pg::ErrorContextScope scope(context.c_str());
        pg::Spi spi;
        spi.run(statements[i].sql);
    }
    record_duration(user, version);
    return true;
}

Verdict verify_migration(const std::string& version, const std::string& sql) {
    const std::optional<Entry> entry = find_entry(user_name(), version);
    if (!entry)
        return Verdict::unknown;
    return entry->checksum == checksum(sql) ? Verdict::match : Verdict::changed;
}

const char* to_string(Verdict verdict) {
    switch (verdict) {
    case Verdict::match:
        return "match";
    case Verdict::changed:
        return "changed";
    case Verdict::unknown:
        break;
    }
    return "unknown";
}

} // namespace orchestry::migrate
