#include "metrics/rollup_apply.hpp"

#include <algorithm>
#include <list>

#include "capture/capture.hpp"
#include "catalog/partitioned_table.hpp"
#include "catalog/settings.hpp"
#include "catalog/strangers.hpp"
#include "pg/fault.hpp"
#include "pg/kept_rows.hpp"

namespace orchestry::metrics {

using base::Instant;
using base::TimeExtent;

namespace {

/// A value of a group takes these bytes while its percentiles are computed; a summary that is
/// merged, about these at most.
constexpr std::int64_t bytes_per_value = 8;
constexpr std::int64_t bytes_per_summary = 1024;
/// Below this, rows are not worth a closer look at where they are.
constexpr std::int64_t buckets_looked_at = 1000;

/// How many rows the leaves of a table have, as far as that is known without reading them.
double estimated_rows(Oid relid) {
    pg::Spi spi;
    // A table that was never analyzed: about 100 bytes a row. No partition is locked.
    spi.run("WITH RECURSIVE below AS (SELECT $1::pg_catalog.oid AS relid UNION ALL SELECT "
            "i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent "
            "OPERATOR(pg_catalog.=) b.relid) "
            "SELECT COALESCE(pg_catalog.sum(CASE WHEN c.reltuples OPERATOR(pg_catalog.>=) 0 THEN "
            "c.reltuples ELSE pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog./) 100 END), "
            "0)::pg_catalog.float8 FROM below b JOIN pg_catalog.pg_class c "
            "ON c.oid OPERATOR(pg_catalog.=) b.relid WHERE c.relkind OPERATOR(pg_catalog.=) 'r'",
            relid);
    return spi.row(0).float8(1);
}

/// The partitions of a source that is partitioned by its time column; nullopt for others.
std::optional<std::vector<Stretch>> stretches_by_bounds(const RollupShape& shape) {
    if (!catalog::has_supported_key(shape.source))
        return std::nullopt;
    const catalog::KeyColumn key = catalog::require_key_column(shape.source);
    if (pg::quote_identifier(key.name) != shape.time_column)
        return std::nullopt;
    const base::KeyKind kind =
        shape.is_wall_clock ? base::KeyKind::timestamp : base::KeyKind::timestamptz;
    const catalog::PartitionedTable table = catalog::read_partitioned_table(shape.source, kind);
    if (table.fallback && table.fallback->has_rows)
        return std::nullopt;
    std::vector<Stretch> stretches;
    for (const base::Member& member : table.members) {
        if (member.range.lower.kind != base::Bound::Kind::value ||
            member.range.upper.kind != base::Bound::Kind::value)
            continue;
        const Instant from{std::max(member.range.lower.at, catalog::all_time.from.us)};
        const Instant to{std::min(member.range.upper.at, catalog::all_time.to.us)};
        if (from < to) // its bounds may be infinite
            stretches.push_back({from, to, estimated_rows(member.relid)});
    }
    return stretches;
}

/// Where the rows of all dirty buckets are: between the first and the last of them.
std::vector<Stretch> stretches_by_rows(const RollupShape& shape, const base::InstantSet& due) {
    std::vector<Stretch> stretches;
    if (due.empty())
        return stretches;
    pg::Spi spi;
    spi.run(bounds_sql(shape, {due.begin()->from, (due.end() - 1)->to}));
    const pg::Row row = spi.row(0);
    if (!row.is_null(1) && !row.is_null(2))
        stretches.push_back(
            {row.instant(1), {row.instant(2).us + 1}, estimated_rows(shape.source)});
    return stretches;
}

/// Whether a batch could be too large: only then it is worth a look where the rows are.
bool is_long(const base::InstantSet& due, const base::Step& bucket) {
    const std::int64_t bucket_us =
        bucket.us > 0 ? bucket.us
                      : (bucket.days + 30 * std::int64_t{bucket.months}) * base::us_per_day;
    return std::any_of(due.begin(), due.end(), [&](const TimeExtent& extent) {
        return (extent.to.us - extent.from.us) / bucket_us > buckets_looked_at;
    });
}

/// The rollups that are made of one. Their policies are to outlive what is made of them.
class Readers {
  public:
    explicit Readers(catalog::JobId parent) {
        for (StoredRollup& rollup : readers_of(parent))
            readers_.emplace_back(std::move(rollup));
    }
    bool empty() const { return readers_.empty(); }

    std::vector<RollupReader> now() const {
        std::vector<RollupReader> readers;
        for (const Reader& reader : readers_)
            readers.push_back({reader.policy.settings().view(), reader.policy.plan().grid(),
                               catalog::dirty(reader.job)});
        return readers;
    }
    template <typename F>
    void for_each(F use) const {
        for (const Reader& reader : readers_)
            use(reader.job);
    }

  private:
    struct Reader {
        explicit Reader(StoredRollup&& rollup)
            : job(rollup.job), policy(std::move(rollup.settings)) {}
        catalog::JobId job;
        CheckedRollup policy;
    };
    std::list<Reader> readers_;
};

/// What of all of them has yet to be computed.
Backlog inspect_marks(const RollupBasis& basis, const Readers& readers) {
    Backlog backlog;
    backlog.quoted = basis.shape.view;
    backlog.dirty = catalog::dirty(basis.job);
    backlog.unready = unready(basis.job);
    backlog.readers = readers.now();
    return backlog;
}

Backlog inspect(const RollupBasis& basis, const RollupPolicy& policy, const Readers& readers,
                Instant now) {
    Backlog backlog = inspect_marks(basis, readers);
    const base::InstantSet extents = due(backlog, policy, now);
    if (auto stretches = stretches_by_bounds(basis.shape))
        backlog.stretches = *std::move(stretches);
    else if (is_long(extents, policy.bucket))
        backlog.stretches = stretches_by_rows(basis.shape, extents);
    pg::Spi spi;
    spi.run(oldest_sql(basis.shape));
    if (!spi.row(0).is_null(1))
        backlog.oldest = spi.row(0).instant(1);
    return backlog;
}

} // namespace

PlannedRollup plan_rollup(const catalog::Job& job, Instant now) {
    PlannedRollup planned;
    RollupBasis& basis = planned.basis;
    basis.job = job.id;
    basis.settings = load_rollup(job.id).settings;
    basis.shape = read_rollup_shape(job.target, basis.settings);
    require_unchanged(job.target, basis.settings);
    (void)stored_buckets(basis.settings);
    catalog::require_no_strangers_part(job.target);
    const CheckedRollup policy(basis.settings);
    const Readers readers(job.id);
    const std::int64_t rows =
        std::int64_t{catalog::settings::refresh_mem_kb} * 1024 /
        (basis.shape.reading == Reading::merged ? bytes_per_summary : bytes_per_value);
    planned.steps = plan(inspect(basis, policy.plan(), readers, now), policy.plan(), now, rows);
    return planned;
}

std::vector<pg::LockRequest> locks_of(const RollupBasis& basis) {
    return {{basis.shape.source, AccessShareLock},
            {stored_buckets(basis.settings), RowExclusiveLock}};
}

std::string describe_sql(const RollupBasis& basis, const RollupStep& step) {
    switch (step.action) {
    case RollupAction::refresh:
        return fresh_sql(basis.shape, step.extent) + ";\n" + store_sql(basis.shape, step.extent) +
               ";";
    case RollupAction::expire:
        return remove_sql(basis.shape, step.extent) + ";";
    case RollupAction::leave:
        return {};
    }
    return {};
}

namespace {

/// The surroundings of statements that group many rows: memory as the user allows, and no sort of
/// all rows, which the planner prefers for groups that it knows nothing of.
void prefer_hashing(pg::GucLevel& guc) {
    const int memory_kb = std::max(work_mem, catalog::settings::refresh_mem_kb);
    guc.set("work_mem", (std::to_string(memory_kb) + "kB").c_str());
    guc.set("enable_sort", "off");
}

/// One step while it is applied.
class Application {
  public:
    Application(const RollupBasis& basis, const RollupStep& step, std::int64_t budget_us)
        : basis_(basis), step_(step), budget_us_(budget_us) {}

    AppliedRollup apply();

  private:
    std::string changed_since() const;
    void refresh();
    void expire();

    const RollupBasis& basis_;
    const RollupStep& step_;
    const std::int64_t budget_us_;
    AppliedRollup applied_;
};

/// Why the step cannot be applied any more; empty: it can. The locks are had.
std::string Application::changed_since() const {
    const RollupShape& shape = basis_.shape;
    if (pg::relation_name(shape.source) != shape.source_name)
        return "the source is gone or has another name by now";
    if (catalog::owner_of(shape.source) != GetUserId())
        return "the source has another owner by now";
    if (!catalog::strangers_part(shape.source).empty())
        return "a part of the source has another owner by now";
    if (load_rollup(basis_.job).settings != basis_.settings)
        return "the rollup was changed meanwhile";
    if (step_.action == RollupAction::refresh && catalog::frozen(basis_.job).overlaps(step_.extent))
        return "rows of these times were removed meanwhile because of their age";
    return {};
}

void Application::refresh() {
    if (!ORCHESTRY_WRONG_ORDER()) {
        catalog::consume(basis_.job, step_.extent);
        ORCHESTRY_FAULT_POINT("between marks and rows");
    }
    pg::GucLevel guc;
    prefer_hashing(guc);
    pg::Spi spi;
    const pg::KeptRows fresh(spi, "fresh", fresh_sql(basis_.shape, step_.extent));
    if (ORCHESTRY_WRONG_ORDER()) { // in tests, which see that it is wrong
        ORCHESTRY_FAULT_POINT("between marks and rows");
        catalog::consume(basis_.job, step_.extent);
    }
    ORCHESTRY_FAULT_POINT("buckets computed");
    spi.run(has_stored_sql(basis_.shape, step_.extent));
    const bool has_stored = spi.row(0).boolean(1);
    spi.run(has_stored ? store_sql(basis_.shape, step_.extent) : store_first_sql(basis_.shape));
    const std::int64_t written = spi.row(0).bigint(1), removed = spi.row(0).bigint(2);
    ORCHESTRY_FAULT_POINT("buckets stored");
    applied_.rows = written + removed;
    applied_.message = std::to_string(written) + (written == 1 ? " row" : " rows") + " written, " +
                       std::to_string(removed) + " removed";
    applied_.done = true;
}

/// What is removed by age is frozen, so that nobody computes it again from rows that are still
/// there; and of the rollups that are made of it, which have read it, so that they keep what they
/// have. That this marks their buckets does not matter then.
void Application::expire() {
    const Readers readers(basis_.job);
    readers.for_each([](catalog::JobId job) { catalog::lock_marks(job); });
    const Backlog backlog = inspect_marks(basis_, readers);
    if (const auto waits = unread(backlog, step_.extent.to)) {
        applied_.message = "these buckets wait to be part of rollup " + waits->quoted + " again";
        return;
    }
    if (const RollupReader* reader = unended(backlog.readers, step_.extent.to)) {
        applied_.message =
            "a bucket of rollup " + reader->quoted + ", made meanwhile, is of these and others";
        return;
    }
    ORCHESTRY_FAULT_POINT("nobody needs the buckets");
    const TimeExtent gone{catalog::all_time.from, step_.extent.to};
    catalog::consume(basis_.job, gone);
    catalog::freeze(basis_.job, gone, catalog::Stored::removed);
    readers.for_each(
        [&](catalog::JobId job) { catalog::freeze(job, gone, catalog::Stored::stays); });
    pg::Spi spi;
    applied_.rows = static_cast<std::int64_t>(spi.run(remove_sql(basis_.shape, step_.extent)));
    ORCHESTRY_FAULT_POINT("buckets removed");
    applied_.done = true;
}

AppliedRollup Application::apply() {
    ORCHESTRY_FAULT_POINT("step planned");
    applied_.lock_wait_us = pg::lock_relations(locks_of(basis_), budget_us_);
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, budget_us_);
    catalog::lock_marks(basis_.job);
    applied_.message = changed_since();
    if (!applied_.message.empty())
        return applied_;
    if (step_.action == RollupAction::refresh)
        refresh();
    else
        expire();
    return applied_;
}

} // namespace

AppliedRollup apply(const RollupBasis& basis, const RollupStep& step, std::int64_t lock_budget_us) {
    return Application(basis, step, lock_budget_us).apply();
}

std::vector<RollupStep> parts_of(const RollupBasis& basis, const RollupStep& step) {
    if (step.action != RollupAction::refresh)
        return {};
    const CheckedRollup policy(basis.settings);
    const base::Grid grid = policy.plan().grid();
    base::InstantSet times;
    times.add(step.extent);
    if (!is_long(times, policy.plan().bucket))
        return halves(step, grid);
    // The first refresh of all is of millennia: half of these have no rows.
    const std::vector<Stretch> stretches = stretches_by_rows(basis.shape, times);
    if (stretches.empty())
        return {};
    std::vector<RollupStep> parts =
        cut(step, {grid.floor(stretches.front().from), grid.ceil(stretches.back().to)});
    return parts.empty() ? halves(step, grid) : parts;
}

void explain(const RollupBasis& basis, const RollupStep& step, pg::Failure& failure) {
    if (step.action != RollupAction::refresh)
        return;
    const RollupShape& shape = basis.shape;
    failure.detail +=
        (failure.detail.empty() ? "" : " ") +
        ("The buckets of rollup " + shape.view + " from " + instant_text(step.extent.from) +
         " to " + instant_text(step.extent.to) + " cannot be computed; the others are.");
    std::string cause;
    if (failure.is(base::errc::program_limit_exceeded) && !shape.groups.empty()) {
        cause = "A value to group by is too long for an index, in ";
        for (std::size_t i = 0; i < shape.groups.size(); ++i)
            cause += (i == 0 ? "" : ", ") + shape.groups[i];
        cause += ". ";
    } else if (failure.is(base::errc::out_of_range)) {
        cause = "A value of " + shape.value_column + " is out of the range of double precision. ";
    }
    failure.hint = cause + "Correct the rows: " + rows_sql(shape, step.extent) + ";";
}

} // namespace orchestry::metrics
