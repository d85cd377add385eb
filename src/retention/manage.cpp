#include "retention/manage.hpp"

#include "capture/capture.hpp"
#include "catalog/settings.hpp"
#include "catalog/strangers.hpp"
#include "pg/fault.hpp"
#include "retention/archive.hpp"
#include "retention/file_archive.hpp"
#include "retention/guard.hpp"
#include "retention/row_inspect.hpp"

#include <algorithm>

namespace orchestry::retention {

using base::Error;
namespace errc = base::errc;

namespace {

/// Already there with these settings: its job. With others: 42710.
std::optional<catalog::JobId> known_job(Oid relid, const Settings& settings,
                                        const std::string& schedule) {
    std::vector<StoredPolicy> policies = find_policies(relid);
    std::erase_if(policies, [&](const StoredPolicy& policy) {
        return why_rows(policy.settings, relid).has_value();
    });
    if (policies.empty())
        return std::nullopt;
    const catalog::JobId job = policies.front().job;
    const std::string name = pg::require_relation_name(relid);
    if (policies.front().settings == settings && catalog::get_job(job).schedule == schedule) {
        pg::report(NOTICE, "table " + name + " has this retention policy already");
        return job;
    }
    throw Error(errc::duplicate_object,
                "table " + name + " has a retention policy for its partitions already")
        .detail("It is job " + std::to_string(job.value) + ".")
        .hint("Run SELECT orchestry.alter_policy(" + std::to_string(job.value) +
              ", '{\"keep\": ...}'); with what is to "
              "change.");
}

/// Raises as require_directory() does, where partitions go into files.
void check_directory(Oid relid, const Policy& policy) {
    if (!policy.directory.empty())
        require_directory(catalog::owner_of(relid), policy.directory);
}

/// Tells what the first run would take.
void announce(const Set& set, const Policy& policy, base::Instant first_run, base::Instant now) {
    const std::vector<PlannedStep> steps = plan(set, policy, now, ServerWorld(set.relid));
    const auto due = std::count_if(steps.begin(), steps.end(), [](const PlannedStep& step) {
        return takes_partition(step.action);
    });
    if (due == 0)
        return;
    pg::report(NOTICE,
               std::to_string(due) + (due == 1 ? " partition" : " partitions") + " of table " +
                   set.quoted + (due == 1 ? " is" : " are") +
                   " past the time that the policy keeps",
               "The first run is due at " + base::instant_text(first_run) + ".",
               "See SELECT * FROM orchestry.plan(" + pg::quote_literal(set.quoted) + ");");
}

/// A row policy of the same rows: its job when it is the same in all, else 42710.
std::optional<catalog::JobId> known_row_job(Oid relid, const Settings& settings,
                                            const std::string& schedule) {
    for (const StoredPolicy& policy : find_policies(relid)) {
        const Settings& other = policy.settings;
        if (!why_rows(other, relid) || other.predicate != settings.predicate ||
            other.time_column != settings.time_column)
            continue;
        const std::string name = pg::require_relation_name(relid);
        if (other == settings && catalog::get_job(policy.job).schedule == schedule) {
            pg::report(NOTICE, "table " + name + " has this retention policy already");
            return policy.job;
        }
        throw Error(errc::duplicate_object,
                    "table " + name + " has a retention policy for these rows already")
            .detail("It is job " + std::to_string(policy.job.value) + ".")
            .hint("Run SELECT orchestry.alter_policy(" + std::to_string(policy.job.value) +
                  ", '{\"keep\": ...}'); with what is to change, or give another \"where\".");
    }
    return std::nullopt;
}

void require_permanent_table(Oid relid) {
    const char kind = pg::call<get_rel_relkind>(relid);
    if ((kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
        pg::call<get_rel_persistence>(relid) != RELPERSISTENCE_TEMP)
        return;
    throw Error(errc::wrong_object_type, "only a permanent table can have a retention policy")
        .detail(pg::require_relation_name(relid) + " is none.");
}

/// Raises what the server says to a DELETE from a table that publishes deletes without a way to
/// name the row.
void require_replica_identity(const RowTable& table) {
    for (const Leaf& leaf : table.leaves) {
        const pg::OpenRelation relation(leaf.relid, AccessShareLock);
        pg::protect([&] { CheckCmdReplicaIdentity(relation.get(), CMD_DELETE); });
    }
}

void announce_rows(const RowTable& table, const CheckedRowPolicy& policy, base::Instant first_run,
                   base::Instant now) {
    const std::vector<PlannedRows> steps =
        plan_rows(table, policy.plan(), now, ServerRowWorld(table.relid, policy, now));
    if (std::none_of(steps.begin(), steps.end(),
                     [](const PlannedRows& step) { return is_destructive(step.action); }))
        return;
    pg::report(NOTICE,
               "table " + table.quoted + " may have rows past the time that the policy keeps",
               "The first run is due at " + base::instant_text(first_run) + ".",
               "See SELECT * FROM orchestry.plan(" + pg::quote_literal(table.quoted) + ");");
}

/// Makes the archive where there is none. Raises when rows would not fit; partitions have the
/// columns of their table.
void check_archive(Oid relid, const std::string& archive) {
    const catalog::AsOwner owner(relid);
    make_archive(relid, archive);
    const bool is_partitioned = pg::call<get_rel_relkind>(relid) == RELKIND_PARTITIONED_TABLE;
    for (const Oid leaf : is_partitioned ? std::vector<Oid>{relid} : pg::family_of(relid))
        if (pg::call<get_rel_relkind>(leaf) != RELKIND_FOREIGN_TABLE) // those are left alone
            (void)archived_columns(relid, leaf, archive);
}

/// Raises where rows elsewhere would go with those that are archived.
void require_no_cascade(Oid relid) {
    const auto cascade = find_cascade(pg::family_of(relid));
    if (!cascade)
        return;
    throw Error(errc::not_prerequisite_state,
                "rows of " + cascade->table + " would be lost with those of " +
                    pg::require_relation_name(relid) + " that are archived")
        .detail("Foreign key " + cascade->constraint + " deletes them, and they go nowhere.")
        .hint("Run ALTER TABLE " + cascade->table + " DROP CONSTRAINT " + cascade->constraint +
              "; and make it again without ON DELETE CASCADE, or leave out \"archive_to\".");
}

/// Checks everything about a policy for rows that can be known before its first run, and makes the
/// archive.
RowTable checked_rows(Oid relid, const CheckedRowPolicy& policy, base::Instant now) {
    check_row_keep(policy.plan(), now);
    RowTable table = inspect_rows(relid, policy, now);
    require_replica_identity(table);
    if (!policy.plan().archive.empty())
        require_no_cascade(relid);
    if (!policy.plan().directory.empty())
        require_directory(catalog::owner_of(relid), policy.plan().directory);
    else if (!policy.plan().archive.empty())
        check_archive(relid, policy.plan().archive);
    return table;
}

catalog::JobId add_row_policy(Oid relid, Settings settings, const std::string& schedule,
                              base::Instant now) {
    require_permanent_table(relid);
    const CheckedRowPolicy policy(completed_rows(std::move(settings), relid), relid);
    const base::Schedule due = catalog::parse_schedule(schedule);
    // Of two setups at once, one waits and then finds the other's policy.
    (void)pg::lock_relations({{relid, ShareUpdateExclusiveLock}},
                             catalog::settings::lock_budget_us());
    if (const auto known = known_row_job(relid, policy.settings(), schedule))
        return *known;
    capture::require_no_buckets(relid, "retention");
    const base::Instant first_run = base::next_run(due, *policy.plan().zone, now, now);
    announce_rows(checked_rows(relid, policy, now), policy, first_run, now);
    const catalog::JobId job = catalog::insert_job(
        {"retention", relid, schedule, policy.settings().time_zone}, now, first_run);
    store_settings(job, policy.settings());
    store_columns(job, relid, policy.settings().predicate);
    return job;
}

} // namespace

catalog::JobId add_policy(Oid relid, Settings settings, const std::string& schedule,
                          base::Instant now) {
    (void)pg::require_relation_name(relid);
    catalog::require_owner_of(relid);
    if (why_rows(settings, relid))
        return add_row_policy(relid, std::move(settings), schedule, now);
    settings = completed(std::move(settings), relid);
    const CheckedPolicy policy(std::move(settings), catalog::require_key_column(relid));
    const base::Schedule due = catalog::parse_schedule(schedule);
    // Of two setups at once, one waits and then finds the other's policy.
    (void)pg::lock_relations({{relid, ShareUpdateExclusiveLock}},
                             catalog::settings::lock_budget_us());
    if (const auto known = known_job(relid, policy.settings(), schedule))
        return *known;
    const base::Instant first_run = base::next_run(due, *policy.plan().zone, now, now);
    {
        const Set set = inspect(relid, policy.kind(), {});
        check_keep(set, policy.plan(), now);
        check_directory(relid, policy.plan());
        announce(set, policy.plan(), first_run, now);
    }
    const catalog::JobId job = catalog::insert_job(
        {"retention", relid, schedule, policy.settings().time_zone}, now, first_run);
    store_settings(job, policy.settings());
    return job;
}

void alter_policy(const catalog::Job& job, const std::string& patch, base::Instant now) {
    const Settings before = load_policy(job.id).settings;
    const Settings settings = patched(before, patch);
    const bool takes_rows = why_rows(before, job.target).has_value();
    if (why_rows(settings, job.target).has_value() != takes_rows)
        throw Error(errc::invalid_parameter,
                    takes_rows ? "a policy for single rows cannot become one for whole partitions"
                               : "a policy for whole partitions cannot become one for single rows")
            .hint("Add another policy, and remove this one with SELECT orchestry.remove_policy(" +
                  std::to_string(job.id.value) + ");");
    if (takes_rows) {
        const CheckedRowPolicy policy(completed_rows(settings, job.target), job.target);
        (void)checked_rows(job.target, policy, now);
        store_settings(job.id, policy.settings());
        if (changes_where(patch)) // else it goes on meaning the columns that it did
            store_columns(job.id, job.target, policy.settings().predicate);
        return;
    }
    const CheckedPolicy policy(completed(settings, job.target),
                               catalog::require_key_column(job.target));
    check_keep(inspect(job.target, policy.kind(), job.id), policy.plan(), now);
    check_directory(job.target, policy.plan());
    store_settings(job.id, policy.settings());
}

// --- back from quarantine -----------------------------------------------------------------------

namespace {

catalog::Quarantined require_quarantined(Oid partition) {
    const std::string name = pg::require_relation_name(partition);
    std::optional<catalog::Quarantined> record = catalog::find_quarantined(partition);
    if (!record)
        throw Error(errc::not_prerequisite_state, "table " + name + " is not in quarantine")
            .hint("See SELECT partition, former_name FROM orchestry.quarantine;");
    if (!OidIsValid(record->parent))
        throw Error(errc::not_prerequisite_state,
                    "the table that " + name + " was a partition of does not exist any more")
            .hint("To keep it as it is, run ALTER TABLE " + name + " RENAME TO ...;");
    catalog::require_owner_of(record->parent);
    if (pg::protect([&] { return get_rel_relispartition(partition); }))
        throw Error(errc::not_prerequisite_state, "table " + name + " is still a partition")
            .detail("A run was interrupted while it detached it.")
            .hint(record->job
                      ? "Run CALL orchestry.run_job(" + std::to_string(record->job->value) +
                            "); first."
                      : "Run ALTER TABLE ... DETACH PARTITION " + name + " FINALIZE; first.");
    return *std::move(record);
}

void require_free_name(const catalog::Quarantined& record) {
    const Oid holder = pg::protect([&] {
        return get_relname_relid(record.former_name.c_str(), get_rel_namespace(record.relid));
    });
    if (OidIsValid(holder))
        throw Error(errc::duplicate_table,
                    "the name of the partition is taken by " + pg::require_relation_name(holder))
            .hint("Rename that first.");
}

/// Raises where the table got a column while the partition was away.
void require_same_columns(const catalog::Quarantined& record) {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.quote_ident(p.attname), pg_catalog.format('%I %s', p.attname, "
            "pg_catalog.format_type(p.atttypid, p.atttypmod)) OPERATOR(pg_catalog.||) "
            "COALESCE(CASE WHEN p.attgenerated OPERATOR(pg_catalog.=) '' THEN ' DEFAULT ' "
            "OPERATOR(pg_catalog.||) pg_catalog.pg_get_expr(d.adbin, d.adrelid) ELSE "
            "' GENERATED ALWAYS AS (' OPERATOR(pg_catalog.||) pg_catalog.pg_get_expr(d.adbin, "
            "d.adrelid) OPERATOR(pg_catalog.||) CASE WHEN p.attgenerated "
            "OPERATOR(pg_catalog.=) 's' THEN ') STORED' ELSE ') VIRTUAL' END END, '') "
            "OPERATOR(pg_catalog.||) "
            "CASE WHEN p.attnotnull THEN ' NOT NULL' ELSE '' END FROM pg_catalog.pg_attribute p "
            "LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) p.attrelid "
            "AND d.adnum OPERATOR(pg_catalog.=) p.attnum "
            "WHERE p.attrelid OPERATOR(pg_catalog.=) $1 AND p.attnum OPERATOR(pg_catalog.>) 0 "
            "AND NOT p.attisdropped AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute c "
            "WHERE c.attrelid OPERATOR(pg_catalog.=) $2 AND c.attname OPERATOR(pg_catalog.=) "
            "p.attname) ORDER BY p.attnum",
            record.parent, record.relid);
    if (spi.rows() == 0)
        return;
    std::string added;
    for (std::uint64_t i = 0; i < spi.rows(); ++i)
        added += (i == 0 ? " ADD COLUMN " : ", ADD COLUMN ") + spi.row(i).text(2);
    const std::string name = pg::require_relation_name(record.relid);
    throw Error(errc::not_prerequisite_state, "table " + name + " lacks column " +
                                                  spi.row(0).text(1) + " of " +
                                                  pg::require_relation_name(record.parent))
        .detail("That was added when the partition had been detached.")
        .hint("Run ALTER TABLE " + name + added + ";");
}

/// ATTACH works out the conditions that are on the two, which are the code of who they belong to.
void require_no_stranger(const catalog::Quarantined& record) {
    const Oid owner = catalog::owner_of(record.parent);
    const Oid fallback = pg::protect([&] { return get_default_partition_oid(record.parent); });
    for (const Oid relid : {record.relid, fallback}) {
        const auto part =
            OidIsValid(relid) ? catalog::find_strangers_part(relid, owner) : std::nullopt;
        if (!part)
            continue;
        throw Error(errc::insufficient_privilege,
                    "table " + part->name + " belongs to role " + part->role)
            .detail("The owner of " + pg::require_relation_name(record.parent) +
                    ", as whom it is attached, may not act for that role.")
            .hint("Run " + part->remedy);
    }
}

std::vector<pg::LockRequest> reattach_locks(const catalog::Quarantined& record) {
    // A partition that brings its foreign keys along makes ATTACH lock what they reference against
    // everybody.
    std::vector<pg::LockRequest> locks =
        foreign_key_locks(record.parent, AccessExclusiveLock, ShareRowExclusiveLock);
    locks.push_back({record.parent, ShareUpdateExclusiveLock});
    const Oid fallback = pg::protect([&] { return get_default_partition_oid(record.parent); });
    if (OidIsValid(fallback))
        locks.push_back({fallback, AccessExclusiveLock});
    locks.push_back({record.relid, AccessExclusiveLock});
    locks.push_back({catalog::hold_table(), RowExclusiveLock}); // it gets one
    return locks;
}

/// The files that the rows of what comes back are in.
std::vector<catalog::ArchiveFile> files_of(const catalog::Quarantined& record) {
    std::vector<catalog::ArchiveFile> files;
    for (const Oid table : pg::family_of(record.relid))
        if (auto file = catalog::file_of(std::nullopt, table)) // its policy may have been removed
            files.push_back(*std::move(file));
    return files;
}

/// They are not in files alone any more: when they go again they go into others.
void forget(const std::vector<catalog::ArchiveFile>& files) {
    for (const catalog::ArchiveFile& file : files) {
        catalog::delete_archive_file(file.id);
        pg::report(NOTICE, "the rows of " + file.part_name + " are in a file as well",
                   "It is \"" + file.path + "\".",
                   "Remove it: when the partition goes again another is written.");
    }
}

} // namespace

std::int64_t reattach(Oid partition) {
    const std::string name = pg::require_relation_name(partition);
    const catalog::Quarantined record = require_quarantined(partition);
    const std::int64_t budget_us = catalog::settings::lock_budget_us();
    const std::int64_t waited_us =
        pg::lock_for_caller(reattach_locks(record), budget_us,
                            "others use what has to be locked to bring the partition back");
    if (!catalog::find_quarantined(partition))
        throw Error(errc::not_prerequisite_state,
                    "table " + name + " has left the quarantine meanwhile");
    require_free_name(record);
    require_same_columns(record);
    require_no_stranger(record);
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, budget_us - waited_us);
    const std::vector<catalog::ArchiveFile> files = files_of(record); // by the name that it has yet
    rename(partition, record.former_name);
    ORCHESTRY_FAULT_POINT("name given back");
    {
        const catalog::AsOwner owner(record.parent);
        pg::run_statements({"ALTER TABLE " + pg::require_relation_name(record.parent) +
                            " ATTACH PARTITION " + pg::require_relation_name(partition) +
                            " FOR VALUES " + record.bounds});
    }
    ORCHESTRY_FAULT_POINT("partition attached again");
    catalog::delete_quarantined(partition);
    forget(files);
    catalog::Hold hold;
    hold.relid = partition;
    hold.reason = "reattached";
    return catalog::add_hold(hold);
}

} // namespace orchestry::retention
