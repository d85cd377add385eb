#include "pg/file.hpp"

#include "base/record_text.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace orchestry::pg {

bool is_directory(const std::string& path) {
    struct stat found {};
    return stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

void rename_durably(const std::string& from, const std::string& to) {
    const char* const old_name = from.c_str();
    const char* const new_name = to.c_str();
    protect([&] { durable_rename(old_name, new_name, ERROR); });
}

namespace {

/// Raises what the last call of the system said. C-like.
[[noreturn]] void raise_file_error(const char* what, const char* name) {
    ereport(ERROR, (errcode_for_file_access(), errmsg("could not %s file \"%s\": %m", what, name)));
    pg_unreachable();
}

} // namespace

bool file_exists(const std::string& path) {
    const char* const name = path.c_str();
    return protect([&] {
        struct stat found {};
        if (lstat(name, &found) == 0)
            return true;
        if (errno != ENOENT)
            raise_file_error("look for", name);
        return false;
    });
}

void sync_file(const std::string& path) {
    const std::string directory = path.substr(0, path.rfind('/'));
    const char* const name = path.c_str();
    const char* const parent = directory.c_str();
    protect([&] {
        fsync_fname_ext(name, false, false, ERROR);
        fsync_fname_ext(parent, true, false, ERROR);
    });
}

void remove_file(const std::string& path) {
    const char* const name = path.c_str();
    protect([&] {
        if (unlink(name) != 0 && errno != ENOENT)
            raise_file_error("remove", name);
    });
}

void write_file(const std::string& path, const std::string& text) {
    const std::string unfinished = path + unfinished_suffix;
    const char* const name = unfinished.c_str();
    const char* const bytes = text.data();
    const std::size_t length = text.size();
    protect([&] {
        const int file = OpenTransientFile(name, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
        if (file < 0)
            raise_file_error("create", name);
        errno = 0;
        if (write(file, bytes, length) != static_cast<ssize_t>(length)) {
            if (errno == 0)
                errno = ENOSPC; // as the server takes it when no reason is given
            raise_file_error("write", name);
        }
        if (CloseTransientFile(file) != 0)
            raise_file_error("close", name);
    });
    rename_durably(unfinished, path);
}

FileDigest digest_file(const std::string& path) {
    constexpr std::size_t buffer_bytes = 64 * 1024;
    constexpr std::size_t digest_bytes = 32;
    struct Result {
        std::int64_t bytes;
        std::uint8_t digest[digest_bytes];
    };
    const char* const name = path.c_str();
    const Result result = protect([&] {
        Result read{};
        const int file = OpenTransientFile(name, O_RDONLY | PG_BINARY);
        if (file < 0)
            raise_file_error("open", name);
        auto* const buffer = static_cast<std::uint8_t*>(palloc(buffer_bytes));
        pg_cryptohash_ctx* const hash = pg_cryptohash_create(PG_SHA256);
        bool hashed = pg_cryptohash_init(hash) >= 0;
        for (;;) {
            CHECK_FOR_INTERRUPTS();
            const ssize_t length = ::read(file, buffer, buffer_bytes);
            if (length < 0)
                raise_file_error("read", name);
            if (length == 0)
                break;
            read.bytes += length;
            hashed =
                hashed && pg_cryptohash_update(hash, buffer, static_cast<std::size_t>(length)) >= 0;
        }
        if (!hashed || pg_cryptohash_final(hash, read.digest, digest_bytes) < 0)
            elog(ERROR, "could not compute a SHA-256 hash: %s", pg_cryptohash_error(hash));
        pg_cryptohash_free(hash);
        pfree(buffer);
        if (CloseTransientFile(file) != 0)
            raise_file_error("close", name);
        return read;
    });
    FileDigest digest{result.bytes, {}};
    constexpr const char* digits = "0123456789abcdef";
    for (const std::uint8_t byte : result.digest) {
        digest.sha256 += digits[byte >> 4];
        digest.sha256 += digits[byte & 15];
    }
    return digest;
}

// --- rows ---------------------------------------------------------------------------------------

namespace {

/// The seed of the hashes, on both sides.
constexpr std::uint64_t hash_seed = 0;

/// C-like.
List* csv_options() {
    char format[] = "csv", match[] = "match";
    const auto option = [](const char* name, const char* value) {
        return makeDefElem(pstrdup(name), reinterpret_cast<Node*>(makeString(pstrdup(value))), -1);
    };
    return list_make3(option("format", format), option("header", match),
                      option("encoding", GetDatabaseEncodingName()));
}

} // namespace

std::string rows_digest_sql(const std::string& columns) {
    const std::string hash = "pg_catalog.hashtextextended(ROW(" + columns +
                             ")::pg_catalog.text COLLATE pg_catalog.\"C\", " +
                             std::to_string(hash_seed) + ")";
    return "pg_catalog.count(*), COALESCE(pg_catalog.sum(" + hash +
           " OPERATOR(pg_catalog.>>) 32), 0)::pg_catalog.int8, COALESCE(pg_catalog.sum(" + hash +
           " OPERATOR(pg_catalog.&) 4294967295), 0)::pg_catalog.int8";
}

std::string csv_options_sql() {
    return std::string("(FORMAT csv, HEADER true, ENCODING '") +
           protect([]() -> const char* { return GetDatabaseEncodingName(); }) + "')";
}

RowsDigest digest_csv(const std::string& path, Oid relid, const std::vector<std::string>& columns) {
    const OpenRelation relation(relid, AccessShareLock);
    const char* const name = path.c_str();
    const std::string* const first = columns.data();
    const std::size_t count = columns.size();
    const CopyFromState copy = protect([&] {
        List* names = NIL;
        for (std::size_t i = 0; i < count; ++i)
            names = lappend(names, makeString(pstrdup(first[i].c_str())));
        return BeginCopyFrom(nullptr, relation.get(), nullptr, name, false, nullptr, names,
                             csv_options());
    });
    RowsDigest digest;
    std::string text;
    for (;;) {
        check_interrupts();
        char** fields = nullptr;
        int found = 0;
        if (!protect([&] { return NextCopyFromRawFields(copy, &fields, &found); }))
            break;
        base::write_record_text(text, fields, found);
        const auto hash = static_cast<std::int64_t>(
            hash_bytes_extended(reinterpret_cast<const unsigned char*>(text.data()),
                                static_cast<int>(text.size()), hash_seed));
        ++digest.rows;
        digest.high += hash >> 32;
        digest.low += hash & 0xffff'ffff;
    }
    protect([&] { EndCopyFrom(copy); });
    return digest;
}

} // namespace orchestry::pg
