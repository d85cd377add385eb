#include "retention/row_apply.hpp"

#include "base/pace.hpp"
#include "catalog/settings.hpp"
#include "catalog/throttle.hpp"
#include "pg/fault.hpp"
#include "pg/xact.hpp"
#include "retention/archive.hpp"
#include "retention/file_archive.hpp"
#include "retention/inspect.hpp"
#include "retention/partition_archive.hpp"

#include <algorithm>

namespace orchestry::retention {

namespace {

namespace settings = catalog::settings;
namespace errc = base::errc;

constexpr const char* deadlock_detected = "40P01";
constexpr const char* foreign_key_violation = "23503";

/// A walk waits this long for a row that somebody has locked. Then it looks for locked rows, which
/// costs as much again as the removal, and leaves them out.
constexpr const char* row_lock_timeout = "10ms";
/// An index is followed until nothing is found any more, but not more often than this: where old
/// rows keep coming, a run would have no end.
constexpr int most_passes = 3;
/// A walk's first batch, where it is not known how many rows a block has.
constexpr std::int64_t first_blocks = 100;

/// A column, quoted or of the system, of the leaf in our statements.
std::string of_row(const std::string& column) {
    return std::string(CheckedRowPolicy::row) + "." + column;
}

std::string from_leaf(const std::string& leaf) {
    return " FROM ONLY " + leaf + " AS " + CheckedRowPolicy::row;
}

std::string delete_where(const std::string& leaf, const std::string& condition) {
    return "DELETE" + from_leaf(leaf) + " WHERE " + condition;
}

/// A deletion, "DELETE ...", that moves what it deletes. `select`: what the statement answers, over
/// `gone` and `kept`.
std::string moving(const std::string& deletion, const std::string& archive,
                   const std::string& columns, const std::string& with, const char* select) {
    return "WITH " + with + "gone AS (" + deletion + " RETURNING " + columns +
           "), kept AS (INSERT INTO " + archive + " (" + columns +
           ") OVERRIDING SYSTEM VALUE SELECT " + columns + " FROM gone RETURNING 1) " + select;
}

std::string block(std::int64_t number) { return "'(" + std::to_string(number) + ",0)'"; }

/// Blocks from `first` up to and without `end`.
struct Blocks {
    std::int64_t first = 0;
    std::int64_t end = 0;
    bool empty() const { return first >= end; }
};

std::string in_blocks(const Blocks& blocks) {
    return of_row("ctid") + " OPERATOR(pg_catalog.>=) " + block(blocks.first) +
           "::pg_catalog.tid AND " + of_row("ctid") + " OPERATOR(pg_catalog.<) " +
           block(blocks.end) + "::pg_catalog.tid";
}

std::int64_t blocks_of(Oid leaf) {
    const pg::OpenRelation relation(leaf, AccessShareLock);
    return pg::protect([&] { return std::int64_t{RelationGetNumberOfBlocks(relation.get())}; });
}

Move move_of(const RowBasis& basis, const CheckedRowPolicy& policy, const PlannedRows& planned) {
    Move move;
    move.relid = basis.relid;
    move.archive = find_archive(policy.plan().archive);
    move.partition = planned.relid;
    move.kind = policy.plan().kind;
    move.range = planned.range;
    move.time_column = policy.plan().time_column;
    return move;
}

} // namespace

RowStep prepare_rows(const RowBasis& basis, const CheckedRowPolicy& policy, PlannedRows planned) {
    RowStep step{std::move(planned), {}, {}, {}};
    const PlannedRows& p = step.planned;
    if (!is_destructive(p.action))
        return step;
    if (p.relid != basis.relid)
        step.lock_requests.push_back({basis.relid, AccessShareLock});
    step.lock_requests.push_back({p.relid, RowExclusiveLock});
    step.sql = delete_where(p.object, policy.condition(p.horizon, {}));
    if (!policy.plan().directory.empty()) {
        step.sql = "COPY (SELECT " + file_columns(p.relid) + from_leaf(p.object) + " WHERE " +
                   policy.condition(p.horizon, {}) + ") TO ... " + pg::csv_options_sql() + "; " +
                   step.sql;
    } else if (p.action == RowAction::archive) {
        const std::string& archive = policy.plan().archive;
        std::string columns = "*"; // when the archive does not fit, which the step will say
        (void)pg::in_subtransaction(
            [&] { columns = archived_columns(basis.relid, p.relid, archive); });
        step.sql = moving(step.sql, archive, columns, "", "SELECT count(*) FROM kept");
        if (const Oid target = find_archive(archive); OidIsValid(target))
            step.lock_requests.push_back({target, RowExclusiveLock});
    }
    step.sql += "; -- in batches";
    step.lock_requests.push_back({catalog::hold_table(), catalog::hold_lock_mode});
    if (p.route == RowRoute::whole) {
        const Move move = move_of(basis, policy, p);
        step.move_locks = move_locks(move, MoveStage::move);
        step.sql.clear();
        for (const MoveStage stage : {MoveStage::constrain, MoveStage::validate, MoveStage::move})
            for (const std::string& statement : move_sql(move, stage))
                step.sql += (step.sql.empty() ? "" : "\n") + statement + ";";
    }
    return step;
}

class RowRemoval::Impl {
  public:
    Impl(RowBasis basis, RowStep step)
        : basis_(std::move(basis)), step_(std::move(step)), planned_(step_.planned),
          policy_(basis_.settings, basis_.relid), throttle_(planned_.relid),
          walk_(1, settings::batch_target_us()),
          index_(basis_.settings.batch_rows, settings::batch_target_us()) {}

    Batch next(std::int64_t lock_budget_us);

  private:
    /// What a batch's statement answers.
    struct Counts {
        std::int64_t removed = 0;
        std::int64_t found = 0;        ///< rows that could be locked
        std::optional<std::string> at; ///< the time of the last of them
    };
    bool basis_holds(Batch& batch);
    bool is_part_of_table() const;
    bool look_at_holds(Batch& batch);
    Batch move_on(std::int64_t lock_budget_us);
    std::string why_not_whole() const;
    Counts walk_on();
    Counts follow_index();
    Counts move_to_file(std::string& message);
    void begin_walk();
    std::optional<Counts> walk_through(const Blocks& blocks);
    Counts walk_around_locked(const Blocks& blocks);
    Counts remove_found(const std::string& victims, bool has_time);
    Counts remove_all(const std::string& condition);
    bool is_over() const;
    void finish(Batch& batch) const;
    [[noreturn]] static void raise_mismatch(std::int64_t deleted, std::int64_t inserted);

    const RowBasis basis_;
    const RowStep step_;
    const PlannedRows& planned_;
    const CheckedRowPolicy policy_;
    std::string condition_; // with the holds of the batch
    std::string columns_;   // of the archive; empty: rows are deleted
    std::int64_t budget_us_ = 0;

    std::int64_t removed_ = 0;
    std::int64_t files_ = 0; // that the rows went to
    catalog::Throttle throttle_;

    base::Pace walk_; // in blocks
    std::optional<Blocks> ahead_;
    int tails_ = 0;                   // how often the table's end was looked for
    std::vector<Blocks> with_locked_; // where somebody had locked rows
    bool is_second_look_ = false;     // at those
    std::int64_t left_ = 0;           // rows that were locked at the second look as well

    base::Pace index_; // in rows
    std::optional<std::string> cursor_;
    bool is_beyond_cursor_ = false; // rows at the cursor itself cannot be removed
    std::int64_t removed_in_pass_ = 0;
    int passes_ = 0;
    bool is_last_pass_over_ = false;
};

bool RowRemoval::Impl::is_part_of_table() const {
    Oid relid = planned_.relid;
    return pg::protect(
        [&] { return list_member_oid(find_all_inheritors(basis_.relid, NoLock, nullptr), relid); });
}

/// Whether the table, its owner and the policy are as they were when the step was planned: its
/// statements go by name.
bool RowRemoval::Impl::basis_holds(Batch& batch) {
    const auto gone = [&](std::string why) {
        batch.state = Batch::State::gone;
        batch.message = std::move(why);
        return false;
    };
    const std::optional<std::string> name = pg::relation_name(basis_.relid);
    if (!name)
        return gone("the table is not there any more");
    if (*name != basis_.name)
        return gone("the table has another name by now");
    if (catalog::owner_of(basis_.relid) != GetUserId())
        return gone("the table has another owner by now");
    const StoredPolicy stored = load_policy(basis_.job);
    if (stored.settings != basis_.settings)
        return gone("the policy was changed meanwhile");
    if (!stored.has_its_columns)
        return gone("a column of its \"where\" was renamed meanwhile");
    const std::optional<std::string> leaf = pg::relation_name(planned_.relid);
    if (!leaf || *leaf != planned_.object)
        return gone("it has another name by now, or is gone");
    if (!is_part_of_table())
        return gone("it does not belong to the table any more");
    if (!stranger(planned_.relid, GetUserId()).empty())
        return gone("it has another owner by now");
    // To find the newest rows of a group the whole table is read.
    if (policy_.plan().keep_last > 0 && strangers_table(basis_.relid, GetUserId()))
        return gone("a part of the table has another owner by now");
    if (planned_.action == RowAction::archive)
        if (const auto cascade = find_cascade({basis_.relid, planned_.relid}))
            return gone("rows of " + cascade->table + " would go with it by foreign key " +
                        cascade->constraint + " by now");
    return true;
}

bool RowRemoval::Impl::look_at_holds(Batch& batch) {
    const HeldRows held =
        held_rows(catalog::Holds(), basis_.relid, planned_.relid, policy_, settings::now());
    if (!held.claimed.lost_along.empty()) {
        batch.state = Batch::State::gone;
        batch.message = held.claimed.lost_along;
        return false;
    }
    condition_ = policy_.condition(planned_.horizon, held.condition);
    if (held.all.empty())
        return true;
    batch.state = Batch::State::gone;
    batch.message = "was put on hold meanwhile: " + held.all;
    return false;
}

void RowRemoval::Impl::raise_mismatch(std::int64_t deleted, std::int64_t inserted) {
    throw base::Error(errc::not_prerequisite_state, "of " + std::to_string(deleted) +
                                                        " rows the archive took " +
                                                        std::to_string(inserted))
        .detail("None was moved.")
        .hint("Look for triggers and rules on the archive that leave rows out.");
}

/// Removes all rows that meet a condition, and waits for whoever has locked one.
RowRemoval::Impl::Counts RowRemoval::Impl::remove_all(const std::string& condition) {
    const std::string deletion = delete_where(planned_.object, condition);
    pg::Spi spi;
    if (columns_.empty()) {
        const auto deleted = static_cast<std::int64_t>(spi.run(deletion));
        return {deleted, deleted, std::nullopt};
    }
    spi.run(moving(deletion, policy_.plan().archive, columns_, "",
                   "SELECT (SELECT pg_catalog.count(*) FROM gone), "
                   "(SELECT pg_catalog.count(*) FROM kept)"));
    const std::int64_t deleted = spi.row(0).bigint(1), inserted = spi.row(0).bigint(2);
    if (deleted != inserted)
        raise_mismatch(deleted, inserted);
    return {deleted, deleted, std::nullopt};
}

/// Removes the rows that a query finds, which are those that nobody else has locked. `victims`: all
/// of the query but what it selects.
RowRemoval::Impl::Counts RowRemoval::Impl::remove_found(const std::string& victims, bool has_time) {
    const std::string time = has_time ? of_row(policy_.plan().time_column) : "NULL";
    const std::string with = "victim AS MATERIALIZED (SELECT " + of_row("ctid") + " AS place, " +
                             time + " AS at" + victims + " FOR UPDATE SKIP LOCKED), ";
    const std::string deletion =
        delete_where(planned_.object, of_row("ctid") + " OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT "
                                                       "v.place FROM victim AS v))");
    const char* const select =
        "SELECT (SELECT pg_catalog.count(*) FROM gone), (SELECT pg_catalog.count(*) FROM kept), "
        "(SELECT pg_catalog.count(*) FROM victim), "
        "(SELECT v.at::pg_catalog.text FROM victim AS v ORDER BY v.at DESC LIMIT 1)";
    pg::Spi spi;
    if (columns_.empty())
        spi.run("WITH " + with + "gone AS (" + deletion +
                " RETURNING 1), kept AS (SELECT FROM gone) " + select);
    else
        spi.run(moving(deletion, policy_.plan().archive, columns_, with, select));
    const pg::Row counts = spi.row(0);
    if (counts.bigint(1) != counts.bigint(2))
        raise_mismatch(counts.bigint(1), counts.bigint(2));
    return {counts.bigint(1), counts.bigint(3),
            counts.is_null(4) ? std::nullopt : std::optional(counts.text(4))};
}

/// As the plan has asked, under the locks.
std::string RowRemoval::Impl::why_not_whole() const {
    const auto member = catalog::read_partition(basis_.relid, policy_.plan().kind, planned_.relid);
    if (!member || member->range != planned_.range || member->detach_pending)
        return "it has other bounds by now";
    const auto survivor =
        catalog::read_partition(basis_.relid, policy_.plan().kind, planned_.survivor);
    if (!survivor || survivor->detach_pending || survivor->range < member->range)
        return "the newest partition is gone, so this one may be the last";
    std::string why = why_none_moves(basis_.relid, policy_);
    return why.empty() ? why_it_does_not_move(basis_.relid, planned_.relid, planned_.range,
                                              read_archive(policy_), catalog::Holds())
                       : why;
}

/// The next stage of a leaf that moves as a whole.
Batch RowRemoval::Impl::move_on(std::int64_t lock_budget_us) {
    Batch batch;
    const Move move = move_of(basis_, policy_, planned_);
    const MoveStage stage = move_stage(move);
    batch.lock_wait_us = pg::lock_relations(move_locks(move, stage), lock_budget_us);
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, lock_budget_us - batch.lock_wait_us);
    if (!basis_holds(batch))
        return batch;
    if (stage == MoveStage::validate) { // which does no more than to read; the rest is asked after
        const ClaimedRows claimed =
            claimed_rows(basis_.relid, planned_.relid, policy_, settings::now());
        if (has_claimed_row(basis_.relid, planned_.relid, claimed)) {
            batch.state = Batch::State::gone;
            batch.message = "rows of it are for " + catalog::describe_jobs(claimed.jobs) + " first";
            return batch;
        }
        carry_out(move, stage);
        return batch;
    }
    if (!look_at_holds(batch))
        return batch;
    const Oid archive = find_archive(policy_.plan().archive);
    const std::string why = OidIsValid(archive) && archive != move.archive
                                ? "the archive is another table by now"
                                : why_not_whole();
    if (!why.empty()) {
        batch.state = Batch::State::gone;
        batch.message = "it cannot move as a whole any more: " + why;
        return batch;
    }
    carry_out(move, stage);
    if (stage != MoveStage::move)
        return batch;
    batch.rows = planned_.rows;
    batch.message = "moved as a whole";
    batch.state = Batch::State::done;
    return batch;
}

void RowRemoval::Impl::begin_walk() {
    ahead_ = Blocks{0, blocks_of(planned_.relid)};
    pg::Spi spi;
    spi.run("SELECT c.reltuples, c.relpages FROM pg_catalog.pg_class c "
            "WHERE c.oid OPERATOR(pg_catalog.=) $1",
            static_cast<Oid>(planned_.relid));
    const double rows = DatumGetFloat4(spi.row(0).datum(1));
    const std::int32_t pages = spi.row(0).integer(2);
    const std::int64_t first =
        rows > 0 && pages > 0
            ? static_cast<std::int64_t>(basis_.settings.batch_rows / (rows / pages)) + 1
            : first_blocks;
    walk_ = base::Pace(first, settings::batch_target_us());
}

/// The rows of some blocks at once; nullopt: somebody has locked one of them.
std::optional<RowRemoval::Impl::Counts> RowRemoval::Impl::walk_through(const Blocks& blocks) {
    Counts counts;
    const auto failure = pg::in_subtransaction([&] {
        pg::GucLevel guc;
        guc.set("lock_timeout", row_lock_timeout);
        counts = remove_all(in_blocks(blocks) + " AND " + condition_);
    });
    if (!failure)
        return counts;
    if (failure->is(errc::lock_not_available) || failure->is(deadlock_detected) ||
        failure->is(base::errc::serialization_failure))
        return std::nullopt;
    pg::raise(*failure);
}

/// The rows of some blocks but for those that others have locked, which are for a second look.
RowRemoval::Impl::Counts RowRemoval::Impl::walk_around_locked(const Blocks& blocks) {
    const std::string victims =
        from_leaf(planned_.object) + " WHERE " + in_blocks(blocks) + " AND " + condition_;
    const Counts counts = remove_found(victims, false);
    pg::Spi spi;
    spi.run("SELECT pg_catalog.count(*)" + victims);
    if (const std::int64_t locked = spi.row(0).bigint(1); locked > 0) {
        if (is_second_look_)
            left_ += locked;
        else
            with_locked_.push_back(blocks);
    }
    return counts;
}

RowRemoval::Impl::Counts RowRemoval::Impl::walk_on() {
    if (!ahead_)
        begin_walk();
    if (ahead_->empty() && !with_locked_.empty()) {
        is_second_look_ = true;
        ahead_ = with_locked_.back();
    }
    if (ahead_->empty())
        return {};
    const Blocks blocks{ahead_->first, std::min(ahead_->first + walk_.amount(), ahead_->end)};
    // Rows that are changed while they wait for the walk move to the table's end.
    const bool looks_further =
        !is_second_look_ && blocks.end == ahead_->end && tails_ < most_passes;
    const std::int64_t end = looks_further ? blocks_of(planned_.relid) : ahead_->end;
    const std::int64_t start = GetCurrentTimestamp();
    std::optional<Counts> counts;
    if (!is_second_look_)
        counts = walk_through(blocks);
    if (!counts)
        counts = walk_around_locked(blocks);
    // From here on nothing fails: what is remembered is what was done.
    if (blocks.end - blocks.first == walk_.amount())
        walk_.took(GetCurrentTimestamp() - start);
    if (is_second_look_ && blocks.end == ahead_->end)
        with_locked_.pop_back();
    tails_ += looks_further;
    *ahead_ = {blocks.end, std::max(end, blocks.end)};
    return *counts;
}

RowRemoval::Impl::Counts RowRemoval::Impl::follow_index() {
    const std::string time = of_row(policy_.plan().time_column);
    std::string victims = from_leaf(planned_.object) + " WHERE " + condition_;
    if (cursor_)
        victims += " AND " + time + " OPERATOR(pg_catalog." + (is_beyond_cursor_ ? ">" : ">=") +
                   ") " + pg::quote_literal(*cursor_) + "::" + policy_.type_name();
    victims += " ORDER BY " + time + " LIMIT " + std::to_string(index_.amount());
    const std::int64_t start = GetCurrentTimestamp();
    Counts counts = remove_found(victims, true);
    if (counts.found == index_.amount())
        index_.took(GetCurrentTimestamp() - start);
    is_beyond_cursor_ = counts.removed == 0 && counts.at && counts.at == cursor_;
    cursor_ = counts.at;
    removed_in_pass_ += counts.removed;
    if (counts.found == 0) { // the end of a pass
        is_last_pass_over_ = removed_in_pass_ == 0 || ++passes_ == most_passes;
        removed_in_pass_ = 0;
        is_beyond_cursor_ = false;
    }
    return counts;
}

/// The oldest rows, as many as a file has, go into a file and are deleted when it is verified.
RowRemoval::Impl::Counts RowRemoval::Impl::move_to_file(std::string& message) {
    // The file of the batch before gets its name in a transaction of its own: should this one fail,
    // it must not have written another under the passing name that they share.
    if (!publish_archive_file(basis_.job).empty())
        return {};
    const std::string time = of_row(policy_.plan().time_column);
    pg::Spi spi;
    spi.run("SELECT pg_catalog.count(*), COALESCE(pg_catalog.array_agg(v.place), '{}')"
            "::pg_catalog.text FROM (SELECT " +
            of_row("ctid") + " AS place" + from_leaf(planned_.object) + " WHERE " + condition_ +
            " ORDER BY " + time + " LIMIT " + std::to_string(basis_.settings.batch_rows) +
            " FOR UPDATE SKIP LOCKED) AS v");
    const std::int64_t found = spi.row(0).bigint(1);
    if (found == 0) {
        is_last_pass_over_ = true;
        return {};
    }
    const std::string places = of_row("ctid") + " OPERATOR(pg_catalog.=) ANY (" +
                               pg::quote_literal(spi.row(0).text(2)) + "::pg_catalog.tid[])";
    FileSource source;
    source.job = basis_.job;
    source.directory = policy_.plan().directory;
    source.table = basis_.relid;
    source.part = planned_.relid;
    source.title = basis_.name;
    source.from = from_leaf(planned_.object) + " WHERE " + places;
    source.time = time;
    source.is_uuid = policy_.column().type == UUIDOID;
    const catalog::ArchiveFile file = write_archive_file(source);
    const FileSettings settings;
    spi.run("WITH gone AS (" + delete_where(planned_.object, places) + " RETURNING " +
            file.columns + ") SELECT " + pg::rows_digest_sql(file.columns) + " FROM gone");
    const pg::Row row = spi.row(0);
    const pg::RowsDigest gone{row.bigint(1), row.bigint(2), row.bigint(3)};
    if (gone != file.rows)
        throw base::Error(
            errc::not_prerequisite_state,
            "of " + std::to_string(file.rows.rows) +
                " rows in a file other ones would go from the table: " + std::to_string(gone.rows))
            .detail("None was removed.")
            .hint("Look for triggers and rules on the table that keep rows from being deleted.");
    message = describe(file);
    ++files_;
    return {gone.rows, found, std::nullopt};
}

bool RowRemoval::Impl::is_over() const {
    return planned_.route == RowRoute::walk ? ahead_->empty() && with_locked_.empty()
                                            : is_last_pass_over_;
}

void RowRemoval::Impl::finish(Batch& batch) const {
    batch.state = removed_ > 0 ? Batch::State::done : Batch::State::gone;
    if (files_ > 0)
        batch.message = "in " + std::to_string(files_) +
                        (files_ == 1 ? " file in " : " files in ") + policy_.plan().directory;
    if (removed_ == 0)
        batch.message = "no row is past its time that can be removed";
    if (left_ > 0)
        batch.message = std::to_string(left_) + (left_ == 1 ? " row that is" : " rows that are") +
                        " locked by others must wait for the next run";
}

Batch RowRemoval::Impl::next(std::int64_t lock_budget_us) {
    Batch batch;
    batch.message = throttle_.why_wait();
    if (!batch.message.empty()) {
        batch.state = Batch::State::wait;
        return batch;
    }
    if (planned_.route == RowRoute::whole)
        return move_on(lock_budget_us);
    batch.lock_wait_us = pg::lock_relations(step_.lock_requests, lock_budget_us);
    if (!basis_holds(batch) || !look_at_holds(batch)) {
        if (removed_ > 0) // what was done is done
            batch.state = Batch::State::done;
        return batch;
    }
    const bool goes_to_file = !policy_.plan().directory.empty();
    if (planned_.action == RowAction::archive && !goes_to_file)
        columns_ = archived_columns(basis_.relid, planned_.relid, policy_.plan().archive);
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, lock_budget_us - batch.lock_wait_us);
    const Counts counts = goes_to_file                       ? move_to_file(batch.message)
                          : planned_.route == RowRoute::walk ? walk_on()
                                                             : follow_index();
    ORCHESTRY_FAULT_POINT("rows removed");
    removed_ += counts.removed;
    batch.rows = counts.removed;
    if (is_over())
        finish(batch);
    return batch;
}

RowRemoval::RowRemoval(RowBasis basis, RowStep step)
    : impl_(std::make_unique<Impl>(std::move(basis), std::move(step))) {}
RowRemoval::~RowRemoval() = default;

Batch RowRemoval::next(std::int64_t lock_budget_us) { return impl_->next(lock_budget_us); }

} // namespace orchestry::retention
