// Functions that fail in every way the boundary has to withstand. Test-only: never installed.
//
// A witness is an object whose destructor counts: after any failure no witness may be left.
#include "pg/entry.hpp"
#include "pg/memory.hpp"
#include "pg/scope.hpp"
#include "pg/spi.hpp"
#include "pg/xact.hpp"

extern "C" {
PG_MODULE_MAGIC;
}

namespace orchestry::test {

namespace {

int witnesses = 0;

/// Owns memory of malloc, which no transaction abort gives back.
class Witness {
  public:
    Witness() : text_(4096, 'w') { ++witnesses; }
    ~Witness() { --witnesses; }
    Witness(const Witness&) = delete;
    Witness& operator=(const Witness&) = delete;

  private:
    std::string text_;
};

std::string text_argument(FunctionCallInfo fcinfo, int i) {
    return pg::protect([&]() -> const char* { return TextDatumGetCString(PG_GETARG_DATUM(i)); });
}

Datum text_result(const std::string& text) { return pg::param(text).value; }

/// Volatile, lest compilers conclude that nothing below ever returns.
volatile int server_error_level = ERROR;

/// An ERROR of the server with everything that one can say.
void raise_server_error() {
    const Witness witness;
    pg::protect([] {
        const int level = server_error_level;
        ereport(level,
                (errcode(ERRCODE_UNIQUE_VIOLATION), errmsg("server message"),
                 errdetail("server detail"), errhint("server hint"), errcontext("server context")));
    });
}

[[noreturn]] void throw_own_error() {
    throw base::Error("22023", "own message").detail("own detail").hint("own hint");
}

/// One frame after the other with something to destroy.
void raise_below(int frames) {
    const Witness witness;
    if (frames > 1)
        raise_below(frames - 1);
    raise_server_error();
}

/// The server is entered and left again on the way: C++, server, C++, server.
Datum through_server(FunctionCallInfo) {
    raise_server_error();
    return 0;
}
Datum inner_entry(PG_FUNCTION_ARGS) {
    return pg::enter("inner_entry", [&] { return through_server(fcinfo); });
}

/// What must be as before as soon as an exception has left a scope, since handlers run before the
/// abort.
struct Surroundings {
    Oid user = InvalidOid;
    int restriction = 0;
    MemoryContext context = CurrentMemoryContext;
    ErrorContextCallback* callbacks = error_context_stack;

    Surroundings() { GetUserIdAndSecContext(&user, &restriction); }
    bool operator==(const Surroundings&) const = default;
};

void raise_within_scopes() {
    const Surroundings before;
    try {
        const pg::ActiveSnapshot snapshot;
        const pg::SecureContext secure(ROLE_PG_MONITOR, pg::Restriction::restricted);
        pg::GucLevel guc;
        guc.set("work_mem", "1MB");
        const pg::OpenRelation relation(RelationRelationId, AccessShareLock);
        const pg::ErrorContextScope line("own context");
        const pg::OwnedContext context("boundary");
        const pg::ContextScope current(context);
        pg::Spi spi;
        throw_own_error();
    } catch (const base::Error&) {
        if (!(Surroundings() == before))
            throw std::runtime_error("a scope was left and is still there");
        throw;
    }
}

void raise_kind(const std::string& kind) {
    const Witness witness;
    if (kind == "bad_alloc")
        throw std::bad_alloc();
    if (kind == "runtime_error")
        throw std::runtime_error("a runtime error: " + std::string(100, 'x'));
    if (kind == "int")
        throw 42;
    if (kind == "own")
        throw_own_error();
    if (kind == "own_plain")
        throw base::Error("22003", "message alone");
    if (kind == "percent")
        throw base::Error("22023", "%s %n %d%%").detail("%s %n").hint("%s %n");
    if (kind == "server")
        raise_server_error();
    if (kind == "deep")
        raise_below(100);
    if (kind == "nested") {
        const pg::ErrorContextScope line("own context");
        pg::protect([] { (void)DirectFunctionCall1(inner_entry, Datum{0}); });
    }
    if (kind == "twice") {
        try {
            throw_own_error();
        } catch (...) { // another error, raised and dealt with while the first is handled
            const auto swallowed = pg::in_subtransaction([] { raise_server_error(); });
            if (!swallowed || !swallowed->is("23505"))
                throw std::runtime_error("the second error was lost");
            throw;
        }
    }
    if (kind == "replaced") {
        try {
            throw_own_error();
        } catch (...) { // an error of the server that takes the place of the one being handled
            raise_server_error();
        }
    }
    if (kind == "spi") {
        pg::Spi spi;
        spi.run("SELECT 1 OPERATOR(pg_catalog./) $1", std::int32_t{0});
    }
    if (kind == "scopes")
        raise_within_scopes();
    if (kind == "huge") {
        const pg::OwnedContext context("boundary");
        pg::Vector<char> bytes{pg::ContextAllocator<char>(context)};
        bytes.resize(std::size_t{1} << 61);
    }
    if (kind == "too_large") { // what the allocator of the context itself refuses
        const pg::OwnedContext context("boundary");
        (void)pg::ContextAllocator<std::int64_t>(context).allocate(std::size_t{1} << 60);
    }
    if (kind == "no_memory") { // what malloc() has not got
        const pg::OwnedContext context("boundary");
        (void)pg::ContextAllocator<char>(context).allocate(MaxAllocHugeSize - 1024);
    }
    if (kind == "interrupt") {
        QueryCancelPending = true;
        InterruptPending = true;
        pg::check_interrupts();
    }
    throw std::runtime_error("no such kind: " + kind);
}

} // namespace

/// boundary_raise(kind text): fails.
ORCHESTRY_FUNCTION(boundary_raise) {
    raise_kind(text_argument(fcinfo, 0));
    return Datum{0};
}

/// boundary_raise_in_procedure(kind text): fails after a commit of its own.
ORCHESTRY_FUNCTION(boundary_raise_in_procedure) {
    const std::string kind = text_argument(fcinfo, 0);
    const Witness witness;
    pg::ProcedureSession session(fcinfo, "boundary_raise_in_procedure");
    session.ensure_snapshot();
    session.commit();
    session.ensure_snapshot();
    raise_kind(kind);
    return Datum{0};
}

/// boundary_swallow(kind text) returns text: what the error said, and that what went before it was
/// undone.
ORCHESTRY_FUNCTION(boundary_swallow) {
    const std::string kind = text_argument(fcinfo, 0);
    const Witness witness;
    const auto failure = pg::in_subtransaction([&] {
        pg::Spi spi;
        spi.run_kept("INSERT INTO public.swallowed VALUES ($1)", kind);
        raise_kind(kind);
    });
    {
        pg::Spi spi;
        spi.run_kept("SELECT FROM public.swallowed s WHERE s.kind OPERATOR(pg_catalog.=) $1", kind);
        if (spi.rows() != 0)
            throw std::runtime_error("the failed subtransaction has left its row");
    }
    return text_result(failure->sqlstate + "|" + failure->message + "|" + failure->detail + "|" +
                       failure->hint + "|" + failure->context);
}

/// boundary_containers(n int) returns bigint: sum of 1..n, by way of containers in a context.
ORCHESTRY_FUNCTION(boundary_containers) {
    const int n = PG_GETARG_INT32(0);
    const pg::OwnedContext context("boundary containers");
    using Entry = std::pair<int, std::int64_t>;
    pg::Vector<std::int64_t> values{pg::ContextAllocator<std::int64_t>(context)};
    boost::container::flat_map<int, std::int64_t, std::less<int>, pg::ContextAllocator<Entry>> map{
        pg::ContextAllocator<Entry>(context)};
    for (int i = n; i > 0; --i) {
        values.push_back(i);
        map.emplace(i % 1000, 0).first->second += i;
    }
    pg::Vector<std::int64_t> moved(std::move(values));
    std::int64_t sum = 0;
    for (const auto& [key, value] : map)
        sum += value;
    for (const std::int64_t value : moved)
        sum += value;
    return Int64GetDatum(sum / 2);
}

/// boundary_state() returns text: what must be as before after any failure.
ORCHESTRY_FUNCTION(boundary_state) {
    Oid user = InvalidOid;
    int restriction = 0;
    GetUserIdAndSecContext(&user, &restriction);
    return text_result("witnesses " + std::to_string(witnesses) + ", user " + std::to_string(user) +
                       ", restriction " + std::to_string(restriction) + ", search_path " +
                       namespace_search_path + ", work_mem " + std::to_string(work_mem) +
                       ", level " + std::to_string(GetCurrentTransactionNestLevel()) + ", SPI " +
                       (pg::call<SPI_inside_nonatomic_context>() ? "nonatomic" : "atomic") +
                       ", handlers " + (error_context_stack ? "some" : "none") + ", exceptions " +
                       std::to_string(std::uncaught_exceptions()));
}

} // namespace orchestry::test
