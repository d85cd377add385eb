#include "capture/capture.hpp"

#include <algorithm>
#include <charconv>
#include <list>

#include "capture/source.hpp"
#include "catalog/partitioned_table.hpp"
#include "catalog/run.hpp"
#include "catalog/settings.hpp"
#include "pg/entry.hpp"
#include "pg/memory.hpp"
#include "pg/xact.hpp"
#include "pg/zone.hpp"

namespace orchestry::capture {

using base::Instant;
using base::TimeExtent;
using catalog::all_time;
using catalog::JobId;

namespace {

/// A transaction that changes more buckets than these, far from each other, marks some between them
/// as well.
constexpr std::size_t most_marks = 256;

// --- the trigger's arguments --------------------------------------------------------------------

// job, or: job, time column, months, days, microseconds, zone
constexpr int arguments_with_buckets = 6;

std::int64_t number(const char* text) {
    std::int64_t value = 0;
    (void)std::from_chars(text, text + std::strlen(text), value);
    return value;
}

JobId job_of(const Trigger& trigger) {
    return {trigger.tgnargs > 0 ? number(trigger.tgargs[0]) : 0};
}

const char* time_column_of(const Trigger& trigger) { return trigger.tgargs[1]; }

base::Step step_of(const Trigger& trigger) {
    return base::make_step(static_cast<std::int32_t>(number(trigger.tgargs[2])),
                           static_cast<std::int32_t>(number(trigger.tgargs[3])),
                           number(trigger.tgargs[4]), "bucket");
}

const char* zone_of(const Trigger& trigger) { return trigger.tgargs[5]; }

// --- what a transaction has changed -------------------------------------------------------------

/// Buckets as their trigger says, and the place of the time in the rows of one table.
class Clock {
  public:
    /// Raises 22023 for a zone that the server does not know any more.
    explicit Clock(const Trigger& trigger)
        : zone_(zone_of(trigger)), grid_(zone_, step_of(trigger)),
          all_(catalog::all_buckets(grid_)) {}
    Clock(const Clock&) = delete; // the grid keeps a pointer to the zone
    Clock& operator=(const Clock&) = delete;

    /// Where rows of a table have their time; not positive when that is not known.
    AttrNumber column_in(Relation relation, const Trigger& trigger) {
        if (RelationGetRelid(relation) != relid_) {
            column_ = find_column(relation, time_column_of(trigger));
            relid_ = RelationGetRelid(relation);
        }
        return column_;
    }
    const TimeExtent& all() const { return all_; }
    TimeExtent bucket_of(Instant t) const { return {grid_.floor(t), grid_.next(t)}; }

  private:
    static AttrNumber find_column(Relation relation, const char* name) {
        return pg::protect([&]() -> AttrNumber {
            const int column = SPI_fnumber(RelationGetDescr(relation), name);
            if (column <= 0)
                return InvalidAttrNumber;
            const Oid type =
                getBaseType(TupleDescAttr(RelationGetDescr(relation), column - 1)->atttypid);
            const bool is_time = type == TIMESTAMPTZOID || type == TIMESTAMPOID;
            return is_time ? static_cast<AttrNumber>(column) : InvalidAttrNumber;
        });
    }

    pg::ServerZone zone_;
    base::Grid grid_;
    TimeExtent all_;
    Oid relid_ = InvalidOid;
    AttrNumber column_ = InvalidAttrNumber;
};

/// A partition that leaves with its rows, and the buckets that were computed from them. What takes
/// that back, or the coming back of the partition, is known by its subtransaction.
struct Leaving {
    Oid partition;
    base::InstantSet computed;
    SubTransactionId left_in;
    SubTransactionId returned_in = InvalidSubTransactionId;
};

/// What one job is told of.
struct Changes {
    Changes(JobId of, std::pmr::memory_resource* memory)
        : job(of), marks(memory), leaving(memory) {}

    void add(const TimeExtent& extent) {
        marks.add(extent);
        marks.coarsen(most_marks);
        last = *marks.find(extent.from);
    }
    void add_all() { add(clock ? clock->all() : all_time); }
    void add_row(Relation relation, TupleTableSlot* row, const Trigger& trigger);

    JobId job;
    base::InstantSet marks;
    std::pmr::list<Leaving> leaving;
    TimeExtent last{{0}, {0}}; // the next row is mostly in the same
    std::optional<Clock> clock;
};

/// What a row that is in no bucket changes: nothing. One whose bucket cannot be told changes all.
void Changes::add_row(Relation relation, TupleTableSlot* row, const Trigger& trigger) {
    const AttrNumber column = clock ? clock->column_in(relation, trigger) : InvalidAttrNumber;
    if (column <= 0)
        return add_all();
    bool null = false;
    const Datum value = slot_getattr(row, column, &null);
    const Instant t{null ? base::minus_infinity.us : DatumGetTimestampTz(value)};
    if (t >= last.from && t < last.to)
        return;
    if (t < clock->all().from || t >= clock->all().to)
        return;
    if (const TimeExtent* const known = marks.find(t))
        last = *known;
    else
        add(clock->bucket_of(t));
}

/// All that this transaction has changed. It lives in the transaction's memory and goes with it.
struct Pending {
    explicit Pending(MemoryContext context) : memory(context), changes(&memory) {}

    Changes& of(JobId job) {
        for (Changes& known : changes)
            if (known.job == job)
                return known;
        return changes.emplace_back(job, &memory);
    }

    pg::ContextResource memory;
    std::pmr::list<Changes> changes;
};

constinit Pending* pending = nullptr;

Changes& changes_of(JobId job) {
    if (!pending)
        pending = new (pg::ContextAllocator<Pending>(TopTransactionContext).allocate(1))
            Pending(TopTransactionContext);
    return pending->of(job);
}

Changes& changes_of(const Trigger& trigger) {
    Changes& changes = changes_of(job_of(trigger));
    if (!changes.clock && trigger.tgnargs == arguments_with_buckets) {
        try {
            changes.clock.emplace(trigger);
        } catch (const base::Error&) {
            // A writer is not to fail for that. Its changes count as changes of all times.
        }
    }
    return changes;
}

/// Writes what this transaction has to say. When it is only prepared, no lock is to stay.
void write_all(bool commits) {
    catalog::SpanWriter writer;
    for (const Changes& changes : pending->changes) {
        if (!commits || !writer.relies_on_marks(changes.job, changes.marks))
            writer.mark(changes.job, changes.marks);
        for (const Leaving& leaving : changes.leaving)
            if (leaving.returned_in == InvalidSubTransactionId)
                writer.freeze(changes.job, leaving.partition, leaving.computed);
    }
}

void on_transaction_event(XactEvent event, void*) {
    if (!pending)
        return;
    if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
        pg::enter("change capture", [&] { write_all(event == XACT_EVENT_PRE_COMMIT); });
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        pending = nullptr;
}

void forget_aborted(std::pmr::list<Leaving>& all, SubTransactionId id) noexcept {
    all.remove_if([id](const Leaving& leaving) { return leaving.left_in == id; });
    for (Leaving& leaving : all)
        if (leaving.returned_in == id)
            leaving.returned_in = InvalidSubTransactionId;
}

void hand_over(std::pmr::list<Leaving>& all, SubTransactionId id,
               SubTransactionId parent) noexcept {
    for (Leaving& leaving : all) {
        if (leaving.left_in == id)
            leaving.left_in = parent;
        if (leaving.returned_in == id)
            leaving.returned_in = parent;
    }
}

/// Marks may stay when what they stand for is rolled back: a bucket is computed once more. A frozen
/// span may not.
void on_subtransaction_event(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
                             void*) {
    if (!pending)
        return;
    for (Changes& changes : pending->changes) {
        if (event == SUBXACT_EVENT_ABORT_SUB)
            forget_aborted(changes.leaving, id);
        if (event == SUBXACT_EVENT_COMMIT_SUB)
            hand_over(changes.leaving, id, parent);
    }
}

} // namespace

void install_capture() {
    pg::protect([] {
        RegisterXactCallback(on_transaction_event, nullptr);
        RegisterSubXactCallback(on_subtransaction_event, nullptr);
    });
    install_source_cache();
}

void mark_at_commit(JobId job, const TimeExtent& extent) {
    const TimeExtent marked{std::max(extent.from, all_time.from), std::min(extent.to, all_time.to)};
    if (marked.from < marked.to)
        changes_of(job).add(marked);
}

void freeze_at_commit(JobId job, Oid partition, const TimeExtent& extent) {
    catalog::lock_marks(job);
    Changes& changes = changes_of(job);
    Leaving& leaving = changes.leaving.emplace_back(Leaving{
        partition, base::InstantSet(&pending->memory), pg::call<GetCurrentSubTransactionId>()});
    leaving.computed.add(extent);
    leaving.computed.remove(catalog::marked(job));
    leaving.computed.remove(changes.marks);
}

void thaw_returned(JobId job, Oid partition) {
    catalog::lock_marks(job);
    for (const TimeExtent& thawed : catalog::thaw_partition(job, partition))
        mark_at_commit(job, thawed);
    Changes& changes = changes_of(job);
    for (Leaving& leaving : changes.leaving) {
        if (leaving.partition != partition || leaving.returned_in != InvalidSubTransactionId)
            continue;
        leaving.returned_in = pg::call<GetCurrentSubTransactionId>();
        for (const TimeExtent& thawed : leaving.computed)
            changes.add(thawed);
    }
}

void note_change(const TriggerData& data) {
    const Trigger& trigger = *data.tg_trigger;
    if (!is_believed(trigger.tgoid, job_of(trigger), RelationGetRelid(data.tg_relation)))
        return;
    Changes& changes = changes_of(trigger);
    if (!TRIGGER_FIRED_FOR_ROW(data.tg_event))
        return changes.add_all(); // TRUNCATE
    changes.add_row(data.tg_relation, data.tg_trigslot, trigger);
    if (TRIGGER_FIRED_BY_UPDATE(data.tg_event))
        changes.add_row(data.tg_relation, data.tg_newslot, trigger);
}

// --- watches ------------------------------------------------------------------------------------

namespace {

std::string row_trigger(JobId job) { return "orchestry_watch_" + std::to_string(job.value); }

std::string truncate_trigger(JobId job) { return row_trigger(job) + "_truncate"; }

std::string arguments_sql(const Watch& watch) {
    const auto quoted = [](std::int64_t value) { return "'" + std::to_string(value) + "'"; };
    std::string sql = quoted(watch.job.value);
    if (const auto& buckets = watch.buckets)
        sql += ", " + pg::quote_literal(buckets->time_column) + ", " +
               quoted(buckets->step.months) + ", " + quoted(buckets->step.days) + ", " +
               quoted(buckets->step.us) + ", " + pg::quote_literal(buckets->time_zone);
    return sql;
}

Oid capture_function() {
    return pg::protect([] {
        List* const name =
            list_make2(makeString(pstrdup("orchestry")), makeString(pstrdup("_capture")));
        return LookupFuncName(name, 0, nullptr, true);
    });
}

} // namespace

std::vector<std::string> watch_sql(const Watch& watch, const std::string& table) {
    const std::string call = " EXECUTE FUNCTION orchestry._capture(" + arguments_sql(watch) + ")";
    return {"CREATE TRIGGER " + row_trigger(watch.job) + " AFTER INSERT OR UPDATE OR DELETE ON " +
                table + " FOR EACH ROW" + call,
            always_sql(table, row_trigger(watch.job)),
            "CREATE TRIGGER " + truncate_trigger(watch.job) + " AFTER TRUNCATE ON " + table +
                " FOR EACH STATEMENT" + call,
            always_sql(table, truncate_trigger(watch.job))};
}

std::string always_sql(const std::string& table, const std::string& trigger) {
    return "ALTER TABLE " + table + " ENABLE ALWAYS TRIGGER " + pg::quote_identifier(trigger);
}

std::vector<Oid> unwatched(JobId job, const std::vector<Oid>& tables) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("SELECT t.relid FROM pg_catalog.unnest($1) t (relid) WHERE NOT EXISTS (SELECT FROM "
            "pg_catalog.pg_trigger g WHERE g.tgrelid OPERATOR(pg_catalog.=) t.relid "
            "AND g.tgname OPERATOR(pg_catalog.=) $2::pg_catalog.name "
            "AND g.tgfoid OPERATOR(pg_catalog.=) $3 AND g.tgenabled OPERATOR(pg_catalog.=) 'A') "
            "OR NOT EXISTS (SELECT FROM orchestry.refresh_source s "
            "WHERE s.job_id OPERATOR(pg_catalog.=) $4 "
            "AND (s.relid OPERATOR(pg_catalog.=) t.relid OR s.relid OPERATOR(pg_catalog.=) ANY "
            "(SELECT a.relid FROM pg_catalog.pg_partition_ancestors(t.relid) a (relid))))",
            tables, row_trigger(job), capture_function(), job.value);
    std::vector<Oid> result;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        result.push_back(spi.row(i).oid(1));
    return result;
}

namespace {

constinit bool unwatching = false;

class Unwatching {
  public:
    Unwatching() { unwatching = true; }
    ~Unwatching() { unwatching = false; }
    Unwatching(const Unwatching&) = delete;
    Unwatching& operator=(const Unwatching&) = delete;
};

} // namespace

bool is_unwatching() { return unwatching; }

namespace {

/// Calls `use` with each trigger of a watch on a table, be it believed or not. `use` looks nothing
/// up: the server may then read the triggers anew.
template <typename F>
void for_each_trigger(Oid relid, F use) {
    const Oid function = capture_function();
    if (!OidIsValid(function))
        return;
    const pg::OpenRelation relation(relid, AccessShareLock, pg::KeepLock::until_close);
    const TriggerDesc* const triggers = relation->trigdesc;
    for (int i = 0; triggers && i < triggers->numtriggers; ++i)
        if (triggers->triggers[i].tgfoid == function)
            use(triggers->triggers[i]);
}

} // namespace

namespace {

/// The statements that end what a table has of the watch of a job itself, by whatever name.
std::vector<std::string> unwatch_sql(JobId job, Oid table) {
    const std::string name = pg::require_relation_name(table);
    std::vector<std::string> statements;
    for_each_trigger(table, [&](const Trigger& trigger) {
        if (job_of(trigger) == job && !trigger.tgisclone)
            statements.push_back("DROP TRIGGER " + pg::quote_identifier(trigger.tgname) + " ON " +
                                 name);
    });
    return statements;
}

} // namespace

void unwatch_all(JobId job) {
    const Unwatching allowed;
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, catalog::settings::lock_budget_us());
    lock_sources(job);
    for (const Oid table : watched_by(job)) {
        const catalog::AsOwner owner(table);
        pg::run_statements(unwatch_sql(job, table));
    }
    remove_sources(job);
}

namespace {

/// Locks tables, with what triggers were cloned to. Raises 55P03 at once when one is in use.
void lock_at_once(const std::vector<Oid>& tables) {
    for (const Oid table : tables)
        for (const Oid member : pg::family_of(table))
            if (!pg::call<ConditionalLockRelationOid>(member, AccessExclusiveLock))
                throw base::Error(base::errc::lock_not_available,
                                  pg::relation_name(member).value_or("a table") + " is in use");
}

} // namespace

void retire_dropped() {
    for (const JobId job : catalog::jobs_of_dropped_targets()) {
        const std::vector<Oid> tables = watched_by(job);
        if (tables.empty())
            continue; // goes with all the others
        (void)pg::in_subtransaction([&] {
            pg::GucLevel guc;
            pg::set_lock_timeout(guc, 0); // of the job's row, which others lock first as well
            lock_sources(job);
            lock_at_once(tables);
            unwatch_all(job);
            catalog::remove_job(job);
        });
    }
}

std::vector<WatchTrigger> watch_triggers(Oid relid) {
    std::vector<WatchTrigger> result;
    for_each_trigger(relid, [&](const Trigger& trigger) {
        result.push_back({trigger.tgoid, trigger.tgname, job_of(trigger),
                          trigger.tgenabled == TRIGGER_FIRES_ALWAYS});
    });
    return result;
}

std::vector<Watch> watches_on(Oid relid) {
    std::vector<WatchTrigger> believed = watch_triggers(relid);
    std::erase_if(believed, [&](const WatchTrigger& trigger) {
        return !is_believed(trigger.id, trigger.job, relid);
    });
    std::vector<Watch> watches;
    if (believed.empty())
        return watches;
    for_each_trigger(relid, [&](const Trigger& trigger) {
        const auto is_this = [&](const WatchTrigger& known) { return known.id == trigger.tgoid; };
        if (!TRIGGER_FOR_ROW(trigger.tgtype) || std::ranges::none_of(believed, is_this))
            return; // what one that is not believed says need not make sense
        Watch& watch = watches.emplace_back();
        watch.job = job_of(trigger);
        if (trigger.tgnargs == arguments_with_buckets)
            watch.buckets = {time_column_of(trigger), step_of(trigger), zone_of(trigger)};
    });
    return watches;
}

namespace {

bool has_watch(Oid relid, JobId job, bool cloned) {
    bool has = false;
    for_each_trigger(relid, [&](const Trigger& trigger) {
        has = has || (job_of(trigger) == job && trigger.tgisclone == cloned);
    });
    return has;
}

bool has_own_watch(Oid relid, JobId job) { return has_watch(relid, job, false); }

} // namespace

std::vector<pg::LockRequest> watch_locks(Oid table, JobId job) {
    std::vector<pg::LockRequest> locks;
    for (const Oid part : pg::family_of(table))
        if (part == table || pg::call<get_rel_relispartition>(Oid{part}))
            locks.push_back(
                {part, has_own_watch(part, job) ? AccessExclusiveLock : ShareRowExclusiveLock});
    return locks;
}

void make_room_in(Oid table, JobId job) {
    const Unwatching allowed;
    for (const Oid part : pg::family_of(table)) {
        if ((part != table && !pg::call<get_rel_relispartition>(Oid{part})) ||
            !has_own_watch(part, job))
            continue;
        const catalog::AsOwner owner(part);
        pg::run_statements(unwatch_sql(job, part));
    }
}

void begin_watch(const Watch& watch, Oid table) {
    make_room_in(table, watch.job);
    if (has_watch(table, watch.job, true))
        return; // that of its parent, which a dump brought
    const catalog::AsOwner owner(table);
    pg::run_statements(watch_sql(watch, pg::require_relation_name(table)));
}

void make_room_for_parent(Oid table, Oid parent) {
    const Unwatching allowed;
    for (const Watch& watch : watches_on(parent))
        for (const Oid part : pg::family_of(table))
            if (has_own_watch(part, watch.job))
                pg::run_statements(unwatch_sql(watch.job, part));
}

std::string why_unwatchable(Oid relid) {
    for (const Oid table : pg::family_of(relid)) {
        if (pg::call<get_rel_relkind>(Oid{table}) == RELKIND_FOREIGN_TABLE)
            return "Changes of foreign table " + pg::relation_name(table).value_or("") +
                   " would not be seen.";
        if (pg::call<get_rel_persistence>(Oid{table}) != RELPERSISTENCE_PERMANENT)
            return "A crash would empty " + pg::relation_name(table).value_or("") +
                   ", and nobody would be told.";
    }
    return {};
}

void require_no_buckets(Oid relid, const char* policy) {
    for (const Oid table : pg::family_of(relid))
        for (const Watch& watch : watches_on(table))
            if (watch.buckets)
                throw base::Error(base::errc::feature_not_supported,
                                  std::string(policy) +
                                      " cannot take rows of a table that a rollup is made of")
                    .detail("They would be missing in the buckets of " +
                            catalog::describe_jobs({watch.job}) + ".")
                    .hint("Partition the table by its time; whole partitions leave rollups as they "
                          "are.");
}

// --- partitions ---------------------------------------------------------------------------------

namespace {

Oid parent_of(Oid relid) {
    return pg::protect([&] {
        return get_rel_relispartition(relid) ? get_partition_parent(relid, true) : InvalidOid;
    });
}

/// The bounds of a partition within its parent, where they are times of that column.
std::optional<TimeExtent> bounds_of(Oid parent, Oid relid, const std::string& time_column) {
    if (!catalog::has_supported_key(parent))
        return std::nullopt;
    const catalog::KeyColumn key = catalog::require_key_column(parent);
    if (key.name != time_column || (key.type != TIMESTAMPTZOID && key.type != TIMESTAMPOID))
        return std::nullopt;
    const auto member = catalog::read_partition(
        parent, key.type == TIMESTAMPOID ? base::KeyKind::timestamp : base::KeyKind::timestamptz,
        relid);
    if (!member)
        return std::nullopt;
    TimeExtent extent = all_time;
    if (member->range.lower.kind == base::Bound::Kind::value)
        extent.from = {member->range.lower.at};
    if (member->range.upper.kind == base::Bound::Kind::value)
        extent.to = {member->range.upper.at};
    return extent;
}

} // namespace

std::optional<TimeExtent> extent_of(Oid relid, const std::string& time_column) {
    std::optional<TimeExtent> extent;
    for (Oid parent = parent_of(relid); OidIsValid(parent);
         relid = parent, parent = parent_of(relid)) {
        const auto bounds = bounds_of(parent, relid, time_column);
        if (!bounds)
            continue;
        if (!extent)
            extent = all_time;
        extent->from = std::max(extent->from, bounds->from);
        extent->to = std::min(extent->to, bounds->to);
    }
    return extent;
}

TimeExtent cover(const Buckets& buckets, const TimeExtent& extent) {
    const pg::ServerZone zone(buckets.time_zone);
    const base::Grid grid(zone, buckets.step);
    const TimeExtent all = catalog::all_buckets(grid);
    const TimeExtent part{std::max(extent.from, all.from), std::min(extent.to, all.to)};
    if (part.from >= part.to) // of times that are in no bucket, such as infinity
        return {all.from, all.from};
    return {grid.floor(part.from), grid.ceil(part.to)};
}

std::vector<JobId> unread_by(Oid partition) {
    std::vector<JobId> jobs;
    for (const Watch& watch : watches_on(partition)) {
        if (!watch.buckets)
            continue;
        const auto extent = extent_of(partition, watch.buckets->time_column);
        if (extent && catalog::dirty(watch.job).overlaps(cover(*watch.buckets, *extent)))
            jobs.push_back(watch.job);
    }
    return jobs;
}

} // namespace orchestry::capture
