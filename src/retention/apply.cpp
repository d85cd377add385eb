#include "retention/apply.hpp"

#include "capture/capture.hpp"
#include "catalog/compression.hpp"
#include "catalog/settings.hpp"
#include "pg/deadline.hpp"
#include "pg/fault.hpp"
#include "pg/xact.hpp"
#include "retention/archive.hpp"
#include "retention/file_archive.hpp"
#include "retention/guard.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace orchestry::retention {

using base::bound_sql;

// --- steps as statements ------------------------------------------------------------------------

std::vector<pg::LockRequest> foreign_key_locks(Oid relid, LOCKMODE referenced_mode,
                                               LOCKMODE referencing_mode) {
    std::map<Oid, LOCKMODE> modes;
    for (const ForeignKey& key : foreign_keys_of(relid))
        modes[key.relid] = std::max(modes[key.relid], referenced_mode);
    for (const ForeignKey& key : foreign_keys_to(relid))
        modes[key.relid] = std::max(modes[key.relid], referencing_mode);
    modes.erase(relid);
    std::vector<pg::LockRequest> locks;
    for (const auto& [other, mode] : modes)
        locks.push_back({other, mode});
    return locks;
}

namespace {

std::string bare_name(Oid relid) {
    const char* const name = pg::call<get_rel_name>(relid);
    return name ? name : "";
}

std::string rename_sql(const std::string& quoted, const std::string& name) {
    return "ALTER TABLE " + quoted + " RENAME TO " + pg::quote_identifier(name);
}

/// A foreign table takes a command of its own.
std::string drop_sql(Oid relid, const std::string& quoted) {
    const bool is_foreign = pg::call<get_rel_relkind>(relid) == RELKIND_FOREIGN_TABLE;
    return (is_foreign ? "DROP FOREIGN TABLE " : "DROP TABLE ") + quoted;
}

/// Tables are locked in one order by all our steps: others at the end of foreign keys, the parent,
/// its default partition, the partition; and last the record of the holds.
void append(std::vector<pg::LockRequest>& locks, const std::vector<pg::LockRequest>& more) {
    locks.insert(locks.end(), more.begin(), more.end());
}

class Preparation {
  public:
    explicit Preparation(const Set& set) : set_(set) {}
    Step prepared(PlannedStep planned);

  private:
    void detach(Step& step);
    void remove(Step& step);
    void drop(Step& step);
    void measure(Step& step) const;
    static std::string archive_sql(const PlannedStep& planned);
    const Partition& partition(Oid relid) const;

    const Set& set_;
    std::vector<pg::LockRequest> set_locks_; // of every detach; empty until there is one
    std::int64_t announced_bytes_ = 0;
};

const Partition& Preparation::partition(Oid relid) const {
    return *std::find_if(set_.partitions.begin(), set_.partitions.end(),
                         [&](const Partition& partition) { return partition.relid == relid; });
}

void Preparation::detach(Step& step) {
    const PlannedStep& planned = step.planned;
    const Partition& leaving = partition(planned.relid);
    if (set_locks_.empty()) {
        set_locks_ = foreign_key_locks(set_.relid, ShareRowExclusiveLock, AccessExclusiveLock);
        set_locks_.push_back({set_.relid, AccessExclusiveLock});
        if (set_.fallback)
            set_locks_.push_back({set_.fallback->relid, AccessExclusiveLock});
    }
    step.lock_requests = set_locks_;
    append(step.lock_requests, {{planned.relid, AccessExclusiveLock},
                                {catalog::hold_table(), catalog::hold_lock_mode}});
    const std::string statement = "ALTER TABLE " + set_.quoted + " DETACH PARTITION ";
    step.statements.push_back(statement + leaving.quoted);
    if (!leaving.renamed)
        step.statements.push_back(
            rename_sql(leaving.quoted, quarantine_name(leaving.relid, bare_name(leaving.relid))));
    if (planned.concurrently)
        step.top_level_statement = statement + leaving.quarantined + " CONCURRENTLY";
}

/// In a transaction of its own it is dropped as it is. Where it leaves concurrently it has to be
/// dropped afterwards, from quarantine.
void Preparation::remove(Step& step) {
    detach(step);
    step.statements = {drop_sql(step.planned.relid, step.planned.object)};
    if (step.top_level_statement.empty())
        return;
    Step afterwards;
    afterwards.planned = step.planned;
    afterwards.planned.action = Action::drop;
    afterwards.planned.object = partition(step.planned.relid).quarantined;
    drop(afterwards);
    step.afterwards.push_back(std::move(afterwards));
}

void Preparation::drop(Step& step) {
    const PlannedStep& planned = step.planned;
    step.statements = {drop_sql(planned.relid, planned.object)};
    step.lock_requests = foreign_key_locks(planned.relid, AccessExclusiveLock, AccessExclusiveLock);
    const Oid parent = pg::protect([&] {
        return planned.relid != planned.root && get_rel_relispartition(planned.relid)
                   ? get_partition_parent(planned.relid, true)
                   : InvalidOid;
    });
    if (OidIsValid(parent))
        step.lock_requests.push_back({parent, AccessExclusiveLock});
    append(step.lock_requests, {{planned.relid, AccessExclusiveLock},
                                {catalog::hold_table(), catalog::hold_lock_mode}});
}

std::string Preparation::archive_sql(const PlannedStep& planned) {
    return "COPY " + planned.object + " TO ... " + pg::csv_options_sql();
}

/// How much leaves: the size with indexes and TOAST, and the rows as of the last VACUUM or ANALYZE,
/// of the table and its partitions.
void Preparation::measure(Step& step) const {
    const Oid relid = step.planned.relid;
    const bool is_leaf = pg::call<get_rel_relkind>(relid) != RELKIND_PARTITIONED_TABLE;
    // Most are leaves; looking for partitions takes longer than all the rest.
    const char* const tables =
        is_leaf ? "pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1"
                : "pg_catalog.pg_partition_tree($1::pg_catalog.regclass) t JOIN "
                  "pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relid WHERE t.isleaf";
    pg::Spi spi;
    spi.run_kept(
        "SELECT pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid))::pg_catalog.int8, "
        "pg_catalog.sum(c.reltuples) FILTER (WHERE c.reltuples OPERATOR(pg_catalog.>=) "
        "0)::pg_catalog.int8 FROM " +
            std::string(tables),
        relid);
    const pg::Row row = spi.row(0);
    if (!row.is_null(1))
        step.bytes = row.bigint(1);
    if (!row.is_null(2))
        step.rows = row.bigint(2);
}

Step Preparation::prepared(PlannedStep planned) {
    Step step{std::move(planned), {}, {}, {}, {}, {}, {}};
    const PlannedStep& p = step.planned;
    switch (p.action) {
    case Action::detach:
    case Action::remove:
        if (p.action == Action::detach)
            detach(step);
        else
            remove(step);
        measure(step);
        for (Step& afterwards : step.afterwards)
            afterwards.bytes = step.bytes;
        if (p.blocked_by.empty())
            announced_bytes_ += step.bytes.value_or(0);
        break;
    case Action::archive:
        step.statements = {archive_sql(p)};
        step.lock_requests = {{p.relid, ShareLock}};
        measure(step);
        break;
    case Action::publish:
        step.lock_requests = {{p.relid, AccessShareLock}};
        break;
    case Action::drop:
        drop(step);
        measure(step);
        break;
    case Action::finalize_detach:
        step.statements = {"ALTER TABLE " + set_.quoted + " DETACH PARTITION " + p.object +
                           " FINALIZE"};
        step.top_level_statement = step.statements.front();
        step.lock_requests = {{set_.relid, ShareUpdateExclusiveLock},
                              {p.relid, AccessExclusiveLock}};
        break;
    case Action::reinstate:
        step.statements = {
            rename_sql(p.object, catalog::find_quarantined(p.relid).value().former_name)};
        step.lock_requests = {{p.relid, AccessExclusiveLock}};
        break;
    case Action::begin_grace:
        step.lock_requests = {{p.relid, AccessShareLock}};
        break;
    case Action::announce:
        step.bytes = announced_bytes_;
        break;
    case Action::leave:
        break;
    }
    return step;
}

} // namespace

std::vector<Step> prepare(const Set& set, std::vector<PlannedStep> planned) {
    Preparation preparation(set);
    std::vector<Step> steps(planned.size());
    // From the end: the announcement, which is the first step, sums up the others.
    for (std::size_t i = planned.size(); i-- > 0;)
        steps[i] = preparation.prepared(std::move(planned[i]));
    return steps;
}

void rename(Oid relid, const std::string& name) {
    // ALTER TABLE would go by a name, which may stand for another table by then, and would need
    // CREATE on the schema, which the owner of a table need not have.
    const char* const terminated = name.c_str();
    pg::protect([&] {
        RenameRelationInternal(relid, terminated, false, false);
        CommandCounterIncrement();
    });
}

// --- execution ----------------------------------------------------------------------------------

namespace {

constexpr const char* foreign_key_violation = "23503";

/// A statement goes by name; it must have done its work to the table that was meant.
void require_detached(Oid relid) {
    if (pg::protect([&] { return get_rel_relispartition(relid); }))
        throw base::Error(base::errc::internal, "the table to be detached is still a partition");
}

void require_dropped(Oid relid) {
    if (pg::relation_name(relid))
        throw base::Error(base::errc::internal, "the table to be dropped is still there");
}

/// One step while it is applied.
class Application {
  public:
    Application(const Basis& basis, const Step& step, std::int64_t lock_budget_us)
        : basis_(basis), step_(step), planned_(step.planned), budget_us_(lock_budget_us),
          searched_(planned_.searched_for.begin(), planned_.searched_for.end()) {}

    Applied act();
    Applied begin_at_top_level();

  private:
    bool lock(const std::vector<pg::LockRequest>& requests);
    bool skip(std::string why);
    bool skip_for(const Hold& hold);
    bool basis_holds();
    bool is_read_by_all();
    std::string why_not_read() const;
    std::string faster_search() const;
    bool is_still_due();
    bool is_still_pending();
    bool is_expired();
    bool is_free_to_go();
    bool has_no_held_row();
    bool is_free_of_holds(Oid relid, const std::optional<base::TimeExtent>& extent);
    bool is_trusted(Oid relid);
    bool record(std::optional<base::Instant> detached_at);
    [[noreturn]] void raise_referenced(const pg::Failure& failure);
    void detach();
    void finalize();
    void archive();
    void publish();
    bool is_in_quarantine();
    bool has_parts() const;
    std::string directory() const;
    bool is_archived();
    void drop();
    void remove();
    void reinstate();

    const Basis& basis_;
    const Step& step_;
    const PlannedStep& planned_;
    const std::int64_t budget_us_;
    base::KeyKind kind_ = base::KeyKind::timestamptz;
    std::optional<base::Member> member_;
    std::set<std::int64_t> searched_; // holds of which no row was found, and none can come
    std::optional<TimestampTz> keeps_out_since_; // those who write to the partition
    Applied applied_;
};

bool Application::skip(std::string why) {
    applied_.message = std::move(why);
    return false;
}

bool Application::skip_for(const Hold& hold) {
    return skip("hold " + std::to_string(hold.id) + " (" + hold.reason + ") was set meanwhile");
}

bool Application::lock(const std::vector<pg::LockRequest>& requests) {
    std::int64_t left_us = budget_us_ - applied_.lock_wait_us;
    if (keeps_out_since_)
        left_us = pg::budget_beside_waiters(left_us, GetCurrentTimestamp() - *keeps_out_since_);
    applied_.lock_wait_us += pg::lock_relations(requests, left_us);
    return basis_holds();
}

/// Whether the set, its owner and the policy are as they were when the step was planned, and all
/// names stand for the same tables: the step's statements go by name.
bool Application::basis_holds() {
    const std::optional<std::string> parent_name = pg::relation_name(basis_.parent);
    if (!parent_name)
        return skip("the table is not there any more");
    if (*parent_name != basis_.parent_name)
        return skip("the table has another name by now");
    if (catalog::owner_of(basis_.parent) != GetUserId())
        return skip("the table has another owner by now");
    const StoredPolicy current = load_policy(basis_.job);
    if (current.settings != basis_.settings)
        return skip("the policy was changed meanwhile");
    const std::optional<std::string> name = pg::relation_name(planned_.relid);
    if (!name)
        return skip("it is not there any more");
    if (*name != planned_.object)
        return skip("it has another name by now");
    return true;
}

bool Application::is_trusted(Oid relid) {
    const auto found = strangers_table(relid, GetUserId());
    return !found || skip(pg::relation_name(found->relid).value_or("it") + " belongs to role " +
                          found->role + " by now");
}

/// Who has yet to read rows of the partition; empty: nobody.
std::string Application::why_not_read() const {
    Partition partition;
    partition.relid = planned_.relid;
    const ServerWorld world(basis_.parent);
    if (world.awaits_compression(partition))
        return "events have come meanwhile that are not compressed yet";
    if (const auto job = world.awaits_archive(partition))
        return "rows have come meanwhile that job " + std::to_string(*job) + " has yet to archive";
    return {};
}

/// The command after which rows that somebody has yet to read are found, or not, in no time.
std::string Application::faster_search() const {
    const bool is_leaf = pg::call<get_rel_relkind>(planned_.relid) == RELKIND_RELATION;
    for (const Archiver& archiver : archivers_of(planned_.relid))
        if (!archiver.predicate.empty())
            return std::string("CREATE INDEX ") + (is_leaf ? "CONCURRENTLY " : "") + "ON " +
                   planned_.object + " (" +
                   pg::quote_identifier(catalog::require_key_column(basis_.parent).name) +
                   ") WHERE " + archiver.predicate + ";";
    return "VACUUM " + planned_.object + ";";
}

/// Whether nobody has yet to read rows of the partition before it goes. It is locked so that no
/// more come, and searched, before its parent is locked against everybody: they would have to wait
/// for the search. Those who write to the partition itself do, but as for any lock of ours.
bool Application::is_read_by_all() {
    const bool is_partitioned =
        pg::call<get_rel_relkind>(planned_.relid) == RELKIND_PARTITIONED_TABLE;
    const bool is_watched = is_partitioned && !capture::watches_on(basis_.parent).empty();
    if (!is_watched && !catalog::is_compressed(planned_.relid) &&
        archivers_of(planned_.relid).empty())
        return true;
    if (!lock({{planned_.relid, ShareLock}}))
        return false;
    keeps_out_since_ = GetCurrentTimestamp();
    // Rows may come to its parts directly, by which nobody locks what is above them.
    std::vector<pg::LockRequest> parts;
    for (const Oid table : pg::family_of(planned_.relid))
        if (table != planned_.relid)
            parts.push_back({table, ShareLock});
    if ((!parts.empty() && !lock(parts)) || !is_trusted(planned_.relid))
        return false;
    const std::int64_t left_us = budget_us_ - applied_.lock_wait_us;
    const TimestampTz start = GetCurrentTimestamp();
    std::string why;
    std::optional<pg::Failure> failure;
    bool is_too_slow = false;
    {
        pg::GucLevel guc;
        pg::set_lock_timeout(guc, left_us);
        const pg::Deadline deadline(left_us);
        failure = pg::in_subtransaction([&] { why = why_not_read(); });
        is_too_slow = failure && failure->is(base::errc::query_canceled) && deadline.passed();
    }
    applied_.lock_wait_us += GetCurrentTimestamp() - start;
    if (is_too_slow)
        return skip("whether rows have come meanwhile that have yet to be archived or compressed "
                    "cannot be seen within orchestry.lock_timeout, for which those who write to "
                    "it wait: " +
                    faster_search());
    if (failure)
        pg::raise(*failure);
    return why.empty() || skip(std::move(why));
}

/// Whether the partition is the one that was planned for: attached, with the same bounds, and not
/// the last one.
bool Application::is_still_due() {
    const CheckedPolicy policy(basis_.settings, catalog::require_key_column(basis_.parent));
    kind_ = policy.kind();
    member_ = catalog::read_partition(basis_.parent, kind_, planned_.relid);
    if (!member_)
        return skip("it is not a partition any more");
    if (member_->detach_pending)
        return skip("somebody is detaching it");
    if (member_->range != planned_.range || member_->exact_lower != planned_.exact_lower ||
        member_->exact_upper != planned_.exact_upper)
        return skip("it has other bounds by now");
    const auto survivor = catalog::read_partition(basis_.parent, kind_, planned_.survivor);
    if (!survivor || survivor->detach_pending || survivor->range < member_->range)
        return skip("the newest partition is gone, so this one may be the last");
    if (!capture::unread_by(planned_.relid).empty())
        return skip("rows have come meanwhile that are not in a rollup yet");
    for (const ForeignKey& key : foreign_keys_to(basis_.parent))
        if (!key.remedy.empty())
            return skip("it cannot be seen by now whether rows of " + key.table +
                        " reference it by foreign key " + key.name + ": " + key.remedy);
    return is_trusted(planned_.relid) &&
           is_free_of_holds(planned_.relid, base::time_extent(kind_, member_->range));
}

bool Application::is_free_of_holds(Oid relid, const std::optional<base::TimeExtent>& extent) {
    for (const Hold& hold : holds_on(catalog::Holds(), relid, GetUserId(), extent)) {
        // Rows are not searched under locks that keep people waiting. What is detached was searched
        // by the plan just now, and is again before it is dropped; what is dropped was searched
        // before these locks; what is removed at once had no hold.
        if (hold.predicate.empty() || !searched_.contains(hold.id))
            return skip_for(hold);
    }
    return true;
}

/// Writes where the partition came from.
bool Application::record(std::optional<base::Instant> detached_at) {
    const auto before = catalog::find_quarantined(planned_.relid);
    catalog::Quarantined record;
    record.relid = planned_.relid;
    record.former_name = before ? before->former_name : member_->name;
    record.name = before ? before->name : quarantine_name(planned_.relid, member_->name);
    record.parent = basis_.parent;
    record.job = basis_.job;
    record.bounds = "FROM (" + bound_sql(kind_, member_->range.lower, member_->exact_lower) +
                    ") TO (" + bound_sql(kind_, member_->range.upper, member_->exact_upper) + ")";
    record.extent = base::time_extent(kind_, member_->range);
    record.detached_at = detached_at;
    if (!before)
        rename(planned_.relid, record.name);
    ORCHESTRY_FAULT_POINT("partition renamed");
    catalog::insert_quarantined(record);
    return true;
}

/// The server names the foreign key of the partition, which nobody knows: the one that people know
/// is its parent.
void Application::raise_referenced(const pg::Failure& failure) {
    Partition partition;
    partition.relid = planned_.relid;
    partition.quoted = planned_.object;
    for (const ForeignKey& key : foreign_keys_to(basis_.parent))
        if (key.remedy.empty() && ServerWorld(basis_.parent).is_referenced(partition, key))
            throw base::Error(foreign_key_violation, "rows of " + key.table + " reference " +
                                                         planned_.object + " by foreign key " +
                                                         key.name)
                .detail(failure.detail);
    pg::raise(failure);
}

void Application::detach() {
    if (!is_still_due())
        return;
    const std::vector<ForeignKey> keys = foreign_keys_to(basis_.parent);
    std::optional<pg::Deadline> deadline;
    if (!keys.empty()) // the server looks for rows that reference it, while everybody waits
        deadline.emplace(budget_us_ - applied_.lock_wait_us);
    const auto failure =
        pg::in_subtransaction([&] { pg::run_statements({step_.statements.front()}); });
    const bool is_too_slow =
        failure && failure->is(base::errc::query_canceled) && deadline && deadline->passed();
    deadline.reset();
    if (is_too_slow) {
        skip("whether rows of " + keys.front().table + " reference it by foreign key " +
             keys.front().name +
             " cannot be seen within orchestry.lock_timeout, for which everybody who uses "
             "these tables waits: SET orchestry.lock_timeout = '10s'; CALL orchestry.run_job(" +
             std::to_string(basis_.job.value) + ");");
        return;
    }
    if (failure && failure->is(foreign_key_violation))
        raise_referenced(*failure);
    if (failure)
        pg::raise(*failure);
    require_detached(planned_.relid);
    ORCHESTRY_FAULT_POINT("partition detached");
    applied_.done = record(catalog::settings::now());
}

bool Application::is_still_pending() {
    const CheckedPolicy policy(basis_.settings, catalog::require_key_column(basis_.parent));
    member_ = catalog::read_partition(basis_.parent, policy.kind(), planned_.relid);
    return (member_ && member_->detach_pending) || skip("the detach was completed by now");
}

void Application::finalize() {
    if (!is_still_pending())
        return;
    pg::run_statements(step_.statements); // waits for queries that can still see the partition
    require_detached(planned_.relid);
    catalog::begin_grace(planned_.relid, catalog::settings::now());
    applied_.done = true;
}

bool Application::has_parts() const {
    return pg::protect(
        [&] { return list_length(find_all_inheritors(planned_.relid, NoLock, nullptr)) > 1; });
}

/// Whether what is to be read or dropped is what was detached, or a part of that.
bool Application::is_in_quarantine() {
    const auto record = catalog::find_quarantined(planned_.root);
    if (!record || record->job != basis_.job || !record->detached_at)
        return skip("it is not in quarantine any more");
    if (pg::protect([&] { return get_rel_relispartition(planned_.root); }))
        return skip("it is a partition again");
    const List* const tree =
        pg::protect([&] { return find_all_inheritors(planned_.root, NoLock, nullptr); });
    if (!pg::protect([&] { return list_member_oid(tree, planned_.relid); }))
        return skip("it does not belong to " + pg::relation_name(planned_.root).value_or("?") +
                    " any more");
    return is_trusted(planned_.relid);
}

/// Whether what is to be dropped was detached long enough ago.
bool Application::is_expired() {
    if (!is_in_quarantine())
        return false;
    const auto record = catalog::find_quarantined(planned_.root);
    if (planned_.relid == planned_.root && has_parts())
        return skip("it still has partitions of its own");
    const pg::ServerZone zone(basis_.settings.time_zone);
    if (base::add(zone, *record->detached_at, basis_.settings.grace) > catalog::settings::now())
        return skip("its grace is not over");
    return true;
}

/// Whether no row of what is to be dropped is held: the holds of now, one after the other.
bool Application::has_no_held_row() {
    Thing thing;
    thing.relid = planned_.relid;
    thing.quoted = planned_.object;
    for (const Hold& hold : holds_on(catalog::Holds(), planned_.relid, GetUserId())) {
        if (hold.predicate.empty() || ServerWorld(basis_.parent).has_held_row(thing, hold))
            return skip_for(hold);
        searched_.insert(hold.id);
    }
    return true;
}

/// Whether no row keeps what is to be dropped. To see that all of them are read, which takes as
/// long as it takes: they are kept as they are, but nobody else is locked out of anything yet. Who
/// changes tables that they reference may still look them up here.
bool Application::is_free_to_go() {
    if (!lock({{planned_.relid, ShareLock}}))
        return false;
    keeps_out_since_ = GetCurrentTimestamp();
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, budget_us_ - applied_.lock_wait_us);
    return is_expired() && has_no_held_row() && is_archived();
}

std::string Application::directory() const {
    return archive_directory(basis_.settings.archive_to.value_or("")).value_or("");
}

void Application::archive() {
    if (!is_in_quarantine())
        return;
    if (catalog::unpublished_file(basis_.job)) {
        skip("another file has to get its name first");
        return;
    }
    const catalog::KeyColumn key = catalog::require_key_column(basis_.parent);
    FileSource source;
    source.job = basis_.job;
    source.directory = directory();
    source.table = basis_.parent;
    source.part = planned_.relid;
    source.is_copy = true;
    source.title = basis_.parent_name;
    source.from = " FROM ONLY " + planned_.object;
    source.time = pg::quote_identifier(key.name);
    source.is_uuid = key.type == UUIDOID;
    const catalog::ArchiveFile file = write_archive_file(source);
    applied_.done = true;
    applied_.message = describe(file);
}

void Application::publish() {
    const std::string path = publish_archive_file(basis_.job);
    applied_.done = !path.empty();
    applied_.message = path.empty() ? "it has its name already" : path;
}

/// Whether the rows of what is to be dropped are in a file, where the policy has some: all of them,
/// and as they are now.
bool Application::is_archived() {
    if (directory().empty() || pg::call<get_rel_relkind>(planned_.relid) != RELKIND_RELATION)
        return true;
    const auto file = catalog::file_of(basis_.job, planned_.relid);
    if (!file || !file->is_published)
        return skip("its rows are not in a file yet");
    if (!is_what_was_archived(*file)) {
        remove_archive_file(*file);
        return skip("its rows have changed since they were written to file " + file->path +
                    ", which is of no use any more: the next run writes another");
    }
    return true;
}

void Application::drop() {
    if (!is_expired() || !is_free_of_holds(planned_.relid, std::nullopt))
        return;
    pg::run_statements(step_.statements);
    require_dropped(planned_.relid);
    catalog::forget_part(planned_.relid);
    ORCHESTRY_FAULT_POINT("partition dropped");
    if (planned_.relid == planned_.root)
        catalog::delete_quarantined(planned_.relid);
    ORCHESTRY_FAULT_POINT("record deleted");
    applied_.done = true;
}

void Application::remove() {
    if (!is_still_due())
        return;
    pg::run_statements(step_.statements);
    require_dropped(planned_.relid);
    ORCHESTRY_FAULT_POINT("partition dropped");
    catalog::delete_quarantined(planned_.relid); // of a run that was interrupted before its detach
    applied_.done = true;
}

void Application::reinstate() {
    const auto record = catalog::find_quarantined(planned_.relid);
    if (!record) {
        skip("it has its name back already");
        return;
    }
    rename(planned_.relid, record->former_name);
    catalog::delete_quarantined(planned_.relid);
    applied_.done = true;
}

Applied Application::act() {
    if (takes_partition(planned_.action) && !is_read_by_all())
        return applied_;
    if (planned_.action == Action::drop && !is_free_to_go())
        return applied_;
    if (!lock(step_.lock_requests))
        return applied_;
    const GuardExemption holds_are_checked_here(planned_.relid);
    pg::GucLevel guc;
    if (planned_.action == Action::finalize_detach)
        guc.set("lock_timeout",
                "0"); // half a detach is worse than a long wait, which can be cancelled
    else
        pg::set_lock_timeout(guc, budget_us_ - applied_.lock_wait_us);
    switch (planned_.action) {
    case Action::detach:
        detach();
        break;
    case Action::finalize_detach:
        finalize();
        break;
    case Action::archive:
        archive();
        break;
    case Action::publish:
        publish();
        break;
    case Action::drop:
        drop();
        break;
    case Action::remove:
        remove();
        break;
    case Action::reinstate:
        reinstate();
        break;
    case Action::begin_grace:
        catalog::begin_grace(planned_.relid, catalog::settings::now());
        applied_.done = true;
        break;
    case Action::announce:
        store_announced(basis_.job, catalog::settings::now());
        applied_.done = true;
        break;
    case Action::leave:
        break;
    }
    return applied_;
}

Applied Application::begin_at_top_level() {
    const bool finalizes = planned_.action == Action::finalize_detach;
    const std::vector<pg::LockRequest> locks =
        finalizes ? std::vector<pg::LockRequest>{{planned_.relid, AccessShareLock}}
                  : std::vector<pg::LockRequest>{{planned_.relid, AccessExclusiveLock},
                                                 {catalog::hold_table(), catalog::hold_lock_mode}};
    if (!finalizes && !is_read_by_all())
        return applied_;
    if (!lock(locks))
        return applied_;
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, budget_us_ - applied_.lock_wait_us);
    applied_.done = finalizes ? is_still_pending() : is_still_due() && record(std::nullopt);
    return applied_;
}

} // namespace

Applied apply(const Basis& basis, const Step& step, std::int64_t lock_budget_us) {
    return Application(basis, step, lock_budget_us).act();
}

Applied begin_at_top_level(const Basis& basis, const Step& step, std::int64_t lock_budget_us) {
    return Application(basis, step, lock_budget_us).begin_at_top_level();
}

void end_at_top_level(const Step& step) {
    require_detached(step.planned.relid);
    catalog::begin_grace(step.planned.relid, catalog::settings::now());
    ORCHESTRY_FAULT_POINT("grace begun");
}

} // namespace orchestry::retention
