#include "migrate/index.hpp"

#include "pg/statement.hpp"

#include <algorithm>

namespace orchestry::migrate {

namespace {

namespace errc = base::errc;

constexpr const char* retry_every = "5 minutes";
/// A large index, or one that waits for old transactions, may take days.
constexpr base::Span longest_run{0, 30, 0};

/// The tables that get an index when one does: with a partitioned table its partitions, but not
/// what inherits from a table, as CREATE INDEX has it.
std::vector<Oid> indexed_tables(Oid root) {
    if (pg::call<get_rel_relkind>(root) != RELKIND_PARTITIONED_TABLE)
        return {root};
    return pg::family_of(root);
}

void check_table(Oid relid) {
    for (const Oid member : indexed_tables(relid)) {
        const char kind = pg::call<get_rel_relkind>(member);
        const bool is_table = kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
        if (!is_table ||
            pg::protect([&] { return get_rel_persistence(member); }) == RELPERSISTENCE_TEMP)
            throw base::Error(errc::wrong_object_type,
                              pg::require_relation_name(member) + " is not a permanent table")
                .detail("An index on a partitioned table needs one on each partition.");
    }
}

struct StoredBuild {
    catalog::JobId job;
    IndexBuild build;
};

IndexBuild read_build(const pg::Row& row) { return {row.text(1), row.boolean(2), row.text(3)}; }

std::optional<StoredBuild> find_build(Oid relid, const std::string& name) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    if (spi.run("SELECT b.index_name, b.is_unique, b.definition, b.job_id FROM "
                "orchestry.index_build b JOIN orchestry.job j ON j.job_id OPERATOR(pg_catalog.=) "
                "b.job_id WHERE j.target OPERATOR(pg_catalog.=) $1 AND j.origin_system "
                "OPERATOR(pg_catalog.=) $2 AND j.origin_database OPERATOR(pg_catalog.=) $3 AND "
                "b.index_name OPERATOR(pg_catalog.=) $4",
                relid, catalog::system_identifier(), MyDatabaseId, name) == 0)
        return std::nullopt;
    return StoredBuild{{spi.row(0).bigint(4)}, read_build(spi.row(0))};
}

/// The schema of a table, which is that of its indexes.
std::string schema_of(Oid relid) {
    return pg::protect([&] { return get_namespace_name(get_rel_namespace(relid)); });
}

/// What CREATE INDEX says of a target. `extra`: CONCURRENTLY, or nothing.
std::string create_sql(const IndexBuild& build, const IndexTarget& target, const char* extra) {
    return std::string("CREATE ") + (build.is_unique ? "UNIQUE " : "") + "INDEX " + extra +
           pg::quote_identifier(target.index_name) + " ON " +
           (target.is_partitioned ? "ONLY " : "") + target.name + " " + build.definition;
}

/// An index as the catalogs have it.
struct FoundIndex {
    Oid oid = InvalidOid;
    IndexState state = IndexState::missing;
};

FoundIndex find_index(const IndexBuild& build, const IndexTarget& target) {
    pg::GucLevel guc; // definitions with all names qualified
    guc.set("search_path", "pg_catalog, pg_temp");
    pg::fix_formats(guc); // as they were when it was stored
    guc.set("quote_all_identifiers", "off");
    pg::Spi spi;
    if (spi.run("SELECT c.oid, i.indrelid OPERATOR(pg_catalog.=) $1, i.indisvalid, "
                "pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_class c LEFT JOIN "
                "pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid WHERE "
                "c.relnamespace OPERATOR(pg_catalog.=) (SELECT t.relnamespace FROM "
                "pg_catalog.pg_class t WHERE t.oid OPERATOR(pg_catalog.=) $1) AND c.relname "
                "OPERATOR(pg_catalog.=) $2",
                Oid{target.relid}, target.index_name) == 0)
        return {};
    const pg::Row row = spi.row(0);
    IndexTarget written = target;
    written.name = pg::require_relation_name(target.relid); // as it is written here
    const bool is_it =
        !row.is_null(2) && row.boolean(2) && row.text(4) == create_sql(build, written, "");
    if (!is_it)
        return {row.oid(1), IndexState::stranger};
    return {row.oid(1),
            target.is_partitioned || row.boolean(3) ? IndexState::ready : IndexState::broken};
}

/// The index of a table that is attached to an index of its parent; InvalidOid: none.
Oid attached_index(Oid relid, Oid parent_index) {
    pg::Spi spi;
    if (spi.run("SELECT i.indexrelid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_inherits h ON "
                "h.inhrelid OPERATOR(pg_catalog.=) i.indexrelid WHERE i.indrelid "
                "OPERATOR(pg_catalog.=) $1 AND h.inhparent OPERATOR(pg_catalog.=) $2",
                relid, parent_index) == 0)
        return InvalidOid;
    return spi.row(0).oid(1);
}

Oid parent_of(Oid relid) {
    return pg::protect([&] {
        return get_rel_relispartition(relid) ? get_partition_parent(relid, true) : InvalidOid;
    });
}

/// The family with what is there of the index, in the order of the plan.
std::vector<IndexTarget> inspect(Oid root, const IndexBuild& build) {
    struct Known {
        Oid relid;
        Oid index; // that the partitions' are attached to; InvalidOid: not there yet
    };
    std::vector<Known> known;
    std::vector<IndexTarget> targets;
    for (const Oid relid : indexed_tables(root)) {
        const std::optional<std::string> name = pg::relation_name(relid);
        if (!name)
            continue; // dropped while we look
        IndexTarget target;
        target.relid = relid;
        target.parent = relid == root ? InvalidOid : parent_of(relid);
        target.is_partitioned = pg::call<get_rel_relkind>(relid) == RELKIND_PARTITIONED_TABLE;
        target.name = *name;
        target.index_name =
            relid == root ? build.name
                          : partition_index_name(pg::protect([&] { return get_rel_name(relid); }),
                                                 build.name);
        const FoundIndex found = find_index(build, target);
        target.state = found.state;
        Oid index = found.state == IndexState::ready ? found.oid : InvalidOid;
        const auto above = std::find_if(known.begin(), known.end(), [&](const Known& table) {
            return table.relid == target.parent;
        });
        if (above != known.end() && OidIsValid(above->index)) {
            const Oid attached = attached_index(relid, above->index);
            target.is_attached = OidIsValid(attached) && attached == found.oid;
            target.is_covered = OidIsValid(attached) && attached != found.oid;
            if (target.is_covered)
                index = attached;
        }
        known.push_back({relid, index});
        targets.push_back(std::move(target));
    }
    return targets;
}

std::string index_of(const IndexTarget& target) {
    return pg::quote_qualified(schema_of(target.relid), target.index_name);
}

PreparedIndexStep prepare(const IndexBuild& build, const std::vector<IndexTarget>& targets,
                          IndexStep planned) {
    const auto at = [&](std::uint32_t relid) -> const IndexTarget& {
        return *std::find_if(targets.begin(), targets.end(),
                             [&](const IndexTarget& target) { return target.relid == relid; });
    };
    const IndexTarget& target = at(planned.relid);
    PreparedIndexStep step{std::move(planned), target, index_of(target), {}, false, {}};
    switch (step.planned.action) {
    case IndexAction::clear:
        step.sql = "DROP INDEX CONCURRENTLY IF EXISTS " + step.object;
        step.is_top_level = true;
        // Whoever is building the index just now has this lock.
        step.lock_requests = {{target.relid, ShareUpdateExclusiveLock}};
        break;
    case IndexAction::build:
        step.sql = create_sql(build, target, "CONCURRENTLY ");
        step.is_top_level = true;
        step.lock_requests = {{target.relid, ShareUpdateExclusiveLock}};
        break;
    case IndexAction::declare:
        step.sql = create_sql(build, target, "");
        step.lock_requests = {{target.relid, ShareLock}};
        break;
    case IndexAction::attach:
        step.sql =
            "ALTER INDEX " + index_of(at(target.parent)) + " ATTACH PARTITION " + step.object;
        step.lock_requests = {{target.parent, AccessShareLock}, {target.relid, AccessShareLock}};
        break;
    }
    return step;
}

} // namespace

std::optional<catalog::JobId> start_index_build(const std::string& sql, base::Instant now) {
    const pg::IndexDefinition read = pg::read_index(sql, [](Oid table) {
        catalog::require_owner_of(table);
        check_table(table);
    });
    const IndexBuild build{read.name, read.is_unique, read.definition};
    if (const std::optional<StoredBuild> stored = find_build(read.table, read.name)) {
        if (stored->build == build) {
            catalog::set_paused(stored->job, false, std::nullopt);
            return stored->job;
        }
        throw base::Error(errc::duplicate_object,
                          "another index \"" + read.name + "\" is being built")
            .detail("It is " + stored->build.definition + ".")
            .hint("Run SELECT orchestry.remove_policy(" + std::to_string(stored->job.value) +
                  "); to give that up.");
    }
    if (plan_index(inspect(read.table, build)).empty())
        return std::nullopt;
    const catalog::JobId job =
        catalog::insert_job({"index", read.table, retry_every, "UTC", longest_run}, now,
                            base::plus(now, 5 * base::us_per_minute));
    const catalog::Elevated elevated;
    pg::Spi spi;
    spi.run("INSERT INTO orchestry.index_build (job_id, index_name, is_unique, definition) VALUES "
            "($1, $2, $3, $4)",
            job.value, build.name, build.is_unique, build.definition);
    return job;
}

IndexBuild load_index_build(catalog::JobId job) {
    const catalog::Elevated elevated;
    pg::Spi spi;
    if (spi.run("SELECT b.index_name, b.is_unique, b.definition FROM orchestry.index_build b WHERE "
                "b.job_id OPERATOR(pg_catalog.=) $1",
                job.value) == 0)
        throw base::Error(errc::undefined_object,
                          "job " + std::to_string(job.value) + " builds no index");
    return read_build(spi.row(0));
}

std::vector<PreparedIndexStep> plan_index_build(const catalog::Job& job) {
    const IndexBuild build = load_index_build(job.id);
    const std::vector<IndexTarget> targets = inspect(job.target, build);
    std::vector<PreparedIndexStep> steps;
    for (IndexStep& step : plan_index(targets))
        steps.push_back(prepare(build, targets, std::move(step)));
    return steps;
}

IndexApplied apply_index_step(const catalog::Job& job, const PreparedIndexStep& step,
                              std::int64_t lock_budget_us) {
    IndexApplied applied;
    applied.lock_wait_us = pg::lock_relations(step.lock_requests, lock_budget_us);
    const auto skip = [&](const char* why) {
        applied.message = why;
        return applied;
    };
    const std::vector<Oid> family = indexed_tables(job.target);
    if (std::find(family.begin(), family.end(), step.target.relid) == family.end() ||
        pg::relation_name(step.target.relid) != step.target.name)
        return skip("the table has left, or has another name");
    const IndexState state = find_index(load_index_build(job.id), step.target).state;
    const bool is_wanted = step.planned.action == IndexAction::attach ? state == IndexState::ready
                           : step.planned.action == IndexAction::clear
                               ? state == IndexState::broken
                               : state == IndexState::missing;
    if (!is_wanted)
        return skip("the index is not as it was planned for any more");
    if (!step.is_top_level) {
        pg::GucLevel guc;
        pg::set_lock_timeout(guc, lock_budget_us - applied.lock_wait_us);
        pg::run_statements({step.sql});
    }
    applied.done = true;
    return applied;
}

void finish_index_build(const catalog::Job& job) {
    if (plan_index(inspect(job.target, load_index_build(job.id))).empty())
        catalog::remove_job(job.id);
}

} // namespace orchestry::migrate
