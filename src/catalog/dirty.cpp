#include "catalog/dirty.hpp"

#include <algorithm>

#include "pg/compat.hpp"

namespace orchestry::catalog {

namespace {

base::InstantSet spans_in(const pg::Spi& result) {
    base::InstantSet spans;
    for (std::uint64_t i = 0; i < result.rows(); ++i)
        spans.add({result.row(i).instant(1), result.row(i).instant(2)});
    return spans;
}

base::InstantSet spans_of(const char* sql, JobId job) {
    const Elevated elevated;
    pg::Spi spi;
    spi.read_latest(sql, job.value);
    return spans_in(spi);
}

} // namespace

namespace {

/// Of a kind of object that is ours.
LOCKTAG marks_tag(JobId job) {
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, MyDatabaseId, job_table(), static_cast<std::uint32_t>(job.value), 0);
    return tag;
}

} // namespace

void lock_marks(JobId job) {
    const LOCKTAG tag = marks_tag(job);
    pg::protect([&] { (void)LockAcquire(&tag, ExclusiveLock, false, false); });
}

base::InstantSet marked(JobId job) {
    return spans_of("SELECT DISTINCT m.from_at, m.to_at FROM orchestry.dirty_mark m "
                    "WHERE m.job_id OPERATOR(pg_catalog.=) $1",
                    job);
}

base::InstantSet frozen(JobId job) {
    return spans_of("SELECT f.from_at, f.to_at FROM orchestry.frozen_span f "
                    "WHERE f.job_id OPERATOR(pg_catalog.=) $1",
                    job);
}

base::InstantSet removed(JobId job) {
    return spans_of("SELECT f.from_at, f.to_at FROM orchestry.frozen_span f "
                    "WHERE f.job_id OPERATOR(pg_catalog.=) $1 AND f.removed",
                    job);
}

base::InstantSet dirty(JobId job) {
    base::InstantSet result = marked(job);
    result.remove(frozen(job));
    return result;
}

namespace {

/// Looking for more than these would cost a commit more than marks that nobody needs.
constexpr std::size_t most_spans_looked_for = 4;
/// Entries of the index, those of marks that were consumed among them: while an old snapshot may
/// see these, they stay.
constexpr int most_entries_looked_at = 16;

/// Whether a committed mark of the job covers the span. Those that begin at it or nearest before it
/// are looked at. C-like.
bool is_marked(Relation marks, std::int64_t job, const base::TimeExtent& span) {
    const Oid index_oid = get_relname_relid("dirty_mark_job_idx", RelationGetNamespace(marks));
    if (!OidIsValid(index_oid))
        return false;
    const Relation index = index_open(index_oid, AccessShareLock);
    ScanKeyData keys[2];
    ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
    ScanKeyInit(&keys[1], 2, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
                TimestampTzGetDatum(span.from.us));
    const Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    const IndexScanDesc scan = pg::compat::begin_index_scan(marks, index, snapshot, 2);
    index_rescan(scan, keys, 2, nullptr, 0);
    TupleTableSlot* const mark = table_slot_create(marks, nullptr);
    bool found = false;
    for (int looked_at = 0; looked_at < most_entries_looked_at && !found; ++looked_at) {
        if (!index_getnext_tid(scan, BackwardScanDirection))
            break;
        bool null = false; // it never is
        found = index_fetch_heap(scan, mark) &&
                DatumGetTimestampTz(slot_getattr(mark, 3, &null)) >= span.to.us;
    }
    ExecDropSingleTupleTableSlot(mark);
    index_endscan(scan);
    UnregisterSnapshot(snapshot);
    index_close(index, AccessShareLock);
    return found;
}

/// C-like.
Relation open_own_table(const char* name) {
    const Oid schema = get_namespace_oid("orchestry", true);
    const Oid relid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
    return OidIsValid(relid) ? table_open(relid, RowExclusiveLock) : nullptr;
}

/// C-like. The table has no index that needs more than this, and no trigger that is fired.
void insert(Relation table, const Datum* values) {
    bool nulls[7] = {};
    CatalogTupleInsert(table,
                       heap_form_tuple(RelationGetDescr(table), const_cast<Datum*>(values), nulls));
}

} // namespace

SpanWriter::SpanWriter()
    : marks_(pg::protect([] { return open_own_table("dirty_mark"); })),
      frozen_(pg::protect([] { return open_own_table("frozen_span"); })) {}

SpanWriter::~SpanWriter() {
    if (unwinding())
        return; // the transaction's abort closes them
    for (const Relation table : {marks_, frozen_})
        if (table)
            quiet([table] { table_close(table, NoLock); });
}

void SpanWriter::mark(JobId job, const base::InstantSet& spans) {
    for (const base::TimeExtent& span : spans) {
        const Datum values[] = {Int64GetDatum(job.value), TimestampTzGetDatum(span.from.us),
                                TimestampTzGetDatum(span.to.us)};
        if (marks_)
            pg::protect([&] { insert(marks_, values); });
    }
}

bool SpanWriter::relies_on_marks(JobId job, const base::InstantSet& spans) {
    // A serializable transaction would take what it reads here for a reason to fail.
    if (!marks_ || IsolationIsSerializable() || spans.size() > most_spans_looked_for)
        return false;
    const LOCKTAG tag = marks_tag(job);
    return pg::protect([&] {
        return pg::compat::lock_if_available(tag, ShareLock) &&
               std::all_of(spans.begin(), spans.end(), [&](const base::TimeExtent& span) {
                   return is_marked(marks_, job.value, span);
               });
    });
}

void SpanWriter::freeze(JobId job, Oid partition, const base::InstantSet& spans) {
    for (const base::TimeExtent& span : spans) {
        const Datum values[] = {Int64GetDatum(job.value),
                                TimestampTzGetDatum(span.from.us),
                                TimestampTzGetDatum(span.to.us),
                                ObjectIdGetDatum(partition),
                                Int64GetDatum(system_identifier()),
                                ObjectIdGetDatum(MyDatabaseId),
                                BoolGetDatum(false)};
        if (frozen_)
            pg::protect([&] { insert(frozen_, values); });
    }
}

void mark(JobId job, const base::TimeExtent& extent) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.dirty_mark (job_id, from_at, to_at) VALUES ($1, $2, $3)",
            job.value, extent.from, extent.to);
}

void consume(JobId job, const base::TimeExtent& extent) {
    const Elevated elevated;
    pg::Spi spi;
    // What sticks out at either end stays marked.
    spi.run("WITH gone AS (DELETE FROM orchestry.dirty_mark m "
            "WHERE m.job_id OPERATOR(pg_catalog.=) $1 AND m.from_at OPERATOR(pg_catalog.<) $3 "
            "AND m.to_at OPERATOR(pg_catalog.>) $2 RETURNING m.from_at, m.to_at) "
            "INSERT INTO orchestry.dirty_mark (job_id, from_at, to_at) "
            "SELECT $1, pg_catalog.min(g.from_at), $2 FROM gone g "
            "HAVING pg_catalog.min(g.from_at) OPERATOR(pg_catalog.<) $2 UNION ALL "
            "SELECT $1, $3, pg_catalog.max(g.to_at) FROM gone g "
            "HAVING pg_catalog.max(g.to_at) OPERATOR(pg_catalog.>) $3",
            job.value, extent.from, extent.to);
}

void gather_marks(JobId job) {
    const Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT pg_catalog.count(*), (SELECT pg_catalog.count(*) FROM pg_catalog.unnest("
            "pg_catalog.range_agg(pg_catalog.tstzrange(m.from_at, m.to_at)))) "
            "FROM orchestry.dirty_mark m WHERE m.job_id OPERATOR(pg_catalog.=) $1",
            job.value);
    if (spi.row(0).bigint(1) == spi.row(0).bigint(2))
        return;
    spi.run("WITH gone AS (DELETE FROM orchestry.dirty_mark m "
            "WHERE m.job_id OPERATOR(pg_catalog.=) $1 RETURNING m.from_at, m.to_at) "
            "INSERT INTO orchestry.dirty_mark (job_id, from_at, to_at) "
            "SELECT $1, pg_catalog.lower(r), pg_catalog.upper(r) FROM pg_catalog.unnest(("
            "SELECT pg_catalog.range_agg(pg_catalog.tstzrange(g.from_at, g.to_at)) FROM gone g)) r",
            job.value);
}

void freeze(JobId job, const base::TimeExtent& extent, Stored stored) {
    const bool is_removed = stored == Stored::removed;
    const Elevated elevated;
    pg::Spi spi;
    // What it covers is in it, and does not come back with a partition any more; but for what is
    // removed, which stays known when the rest is not.
    spi.run("DELETE FROM orchestry.frozen_span f WHERE f.job_id OPERATOR(pg_catalog.=) $1 "
            "AND f.from_at OPERATOR(pg_catalog.>=) $2 AND f.to_at OPERATOR(pg_catalog.<=) $3 "
            "AND ($4 OR NOT f.removed)",
            job.value, extent.from, extent.to, is_removed);
    spi.run("INSERT INTO orchestry.frozen_span (job_id, from_at, to_at, relid, origin_system, "
            "origin_database, removed) VALUES ($1, $2, $3, 0, $4, $5, $6)",
            job.value, extent.from, extent.to, system_identifier(), MyDatabaseId, is_removed);
}

void thaw(JobId job, const base::TimeExtent& extent) {
    const Elevated elevated;
    pg::Spi spi;
    spi.change_latest(
        "WITH gone AS (DELETE FROM orchestry.frozen_span f "
        "WHERE f.job_id OPERATOR(pg_catalog.=) $1 AND f.from_at OPERATOR(pg_catalog.<) $3 "
        "AND f.to_at OPERATOR(pg_catalog.>) $2 RETURNING f.*) "
        "INSERT INTO orchestry.frozen_span "
        "SELECT g.job_id, g.from_at, $2, g.relid, g.origin_system, g.origin_database, g.removed "
        "FROM gone g WHERE g.from_at OPERATOR(pg_catalog.<) $2 UNION ALL "
        "SELECT g.job_id, $3, g.to_at, g.relid, g.origin_system, g.origin_database, g.removed "
        "FROM gone g WHERE g.to_at OPERATOR(pg_catalog.>) $3",
        job.value, extent.from, extent.to);
}

base::InstantSet thaw_partition(JobId job, Oid partition) {
    const Elevated elevated;
    pg::Spi spi;
    spi.change_latest(
        "DELETE FROM orchestry.frozen_span f WHERE f.job_id OPERATOR(pg_catalog.=) $1 "
        "AND f.relid OPERATOR(pg_catalog.=) $2 AND f.origin_system OPERATOR(pg_catalog.=) $3 "
        "AND f.origin_database OPERATOR(pg_catalog.=) $4 RETURNING f.from_at, f.to_at",
        job.value, partition, system_identifier(), MyDatabaseId);
    return spans_in(spi);
}

} // namespace orchestry::catalog
