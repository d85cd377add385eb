#include "events/apply.hpp"

#include "pg/fault.hpp"
#include "pg/kept_rows.hpp"

namespace orchestry::events {

using base::Error;
namespace errc = base::errc;

Oid require_target(Shape& shape) {
    const Oid target = find_target(shape.target_name);
    if (!OidIsValid(target))
        throw Error(errc::undefined_table, "table " + shape.target_name +
                                               ", which takes the "
                                               "compressed events of " +
                                               shape.source_name + ", does not exist")
            .detail("It was renamed, moved or dropped.")
            .hint("Give it its name back, or remove the policy and add one with another "
                  "\"into_table\".");
    const Oid owner = catalog::owner_of(shape.source);
    const Oid target_owner = catalog::owner_of(target);
    if (target_owner != owner &&
        !pg::protect([&] { return has_privs_of_role(owner, target_owner); }))
        throw Error(errc::insufficient_privilege, "table " + shape.target_name +
                                                      " belongs to another role than " +
                                                      shape.source_name)
            .detail("Events go only into tables of their owner.")
            .hint("Run ALTER TABLE " + shape.target_name + " OWNER TO ...;");
    check_target(shape, target);
    return target;
}

namespace {

/// The statements of a step, as the holds are now.
std::vector<std::string> statements_of(const Basis& basis, const PlannedStep& step,
                                       const Kept& kept) {
    const CheckedPolicy policy(basis.settings);
    const std::int32_t samples = basis.settings.samples;
    if (step.action == Action::compress)
        return {compress_sql(basis.shape, policy.plan(), samples, step.lower, step.upper,
                             removable(basis.shape, kept, {step.from, step.upper}))};
    if (step.action == Action::leave)
        return {};
    const PartitionSql sql =
        partition_sql(basis.shape, policy.plan(), samples, step.lower, step.upper, step.object);
    return {sql.summed, sql.merge, sql.empty};
}

/// What the source, its partition and the target are locked with, and last the record of holds.
std::vector<pg::LockRequest> locks_of(const Basis& basis, const PlannedStep& step) {
    std::vector<pg::LockRequest> locks = {{basis.shape.source, RowExclusiveLock}};
    if (step.action == Action::compress_partition) {
        locks.front().mode = AccessShareLock;     // it keeps the partition from being detached
        locks.push_back({step.relid, ShareLock}); // and this, rows from coming
    }
    locks.push_back({basis.target, RowExclusiveLock});
    locks.push_back({catalog::hold_table(), catalog::hold_lock_mode});
    return locks;
}

} // namespace

Planned plan_job(const catalog::Job& job, base::Instant now) {
    Planned planned;
    Basis& basis = planned.basis;
    basis.job = job.id;
    basis.settings = load_policy(job.id).settings;
    basis.shape = read_shape(job.target, basis.settings);
    basis.target = require_target(basis.shape);
    const CheckedPolicy policy(basis.settings);
    const Kept kept = kept_by_holds(basis.shape);
    for (PlannedStep& planned_step :
         plan(inspect(basis.shape, policy.plan(), now), policy.plan(), now)) {
        Step step{std::move(planned_step), {}, {}};
        step.statements = statements_of(basis, step.planned, kept);
        step.lock_requests = locks_of(basis, step.planned);
        planned.steps.push_back(std::move(step));
    }
    return planned;
}

namespace {

/// Whether the partition of a step can still be taken as a whole, with the same bounds.
bool is_still_whole(const Shape& shape, const PlannedStep& step, const Kept& kept) {
    for (const Whole& whole : whole_partitions(shape, kept, step.upper))
        if (whole.relid == step.relid && whole.quoted == step.object && whole.from == step.from &&
            whole.to == step.upper)
            return true;
    return false;
}

/// One step while it is applied.
class Application {
  public:
    Application(const Basis& basis, const Step& step, std::int64_t lock_budget_us)
        : basis_(basis), step_(step), budget_us_(lock_budget_us) {}

    Applied apply();

  private:
    std::string changed_since() const;
    void compress();
    void compress_partition();
    void count(const pg::Row& row);

    Basis basis_; // with the shape as it is now
    const Step& step_;
    const std::int64_t budget_us_;
    Kept kept_;
    Applied applied_;
};

/// Why the step cannot be applied any more; empty: it can. The locks are had.
std::string Application::changed_since() const {
    const Shape& shape = basis_.shape;
    if (pg::relation_name(shape.source) != shape.source_name)
        return "the table is gone or has another name by now";
    if (catalog::owner_of(shape.source) != GetUserId())
        return "the table has another owner by now";
    if (load_policy(basis_.job).settings != basis_.settings)
        return "the policy was changed meanwhile";
    if (find_target(shape.target_name) != basis_.target)
        return "the target is another table by now";
    return {};
}

void Application::count(const pg::Row& row) {
    applied_.rows = row.bigint(1);
    const std::int64_t merged = row.bigint(2);
    if (const std::int64_t stored = row.bigint(3); stored != merged)
        throw Error(errc::not_prerequisite_state,
                    "of " + std::to_string(merged) + " rows that events were summed up to, table " +
                        basis_.shape.target_name + " took " + std::to_string(stored))
            .detail("No event was removed.")
            .hint("Look for triggers on that table that leave rows out.");
    applied_.message = "into " + std::to_string(merged) + (merged == 1 ? " row of " : " rows of ") +
                       basis_.shape.target_name;
    applied_.done = true;
}

void Application::compress() {
    pg::Spi spi;
    spi.run(statements_of(basis_, step_.planned, kept_).front());
    ORCHESTRY_FAULT_POINT("events compressed");
    count(spi.row(0));
}

/// The partition is emptied in the transaction that stores what it comes to, and its lock has kept
/// rows from coming since before they were read. It stays where it is: a late row finds its place,
/// and goes with a later run.
void Application::compress_partition() {
    if (!is_still_whole(basis_.shape, step_.planned, kept_)) {
        applied_.message = "it cannot be taken as a whole any more";
        return;
    }
    const std::vector<std::string> statements = statements_of(basis_, step_.planned, kept_);
    pg::Spi spi;
    const pg::KeptRows summed(spi, "summed", statements[0]);
    ORCHESTRY_FAULT_POINT("partition summed up");
    const std::uint64_t stored = spi.run(statements[1]);
    ORCHESTRY_FAULT_POINT("partition merged");
    spi.run(statements[2]);
    ORCHESTRY_FAULT_POINT("partition emptied");
    spi.run(count_summed_sql(std::to_string(stored)));
    count(spi.row(0));
}

Applied Application::apply() {
    applied_.lock_wait_us = pg::lock_relations(step_.lock_requests, budget_us_);
    applied_.message = changed_since();
    if (!applied_.message.empty())
        return applied_;
    basis_.shape = read_shape(basis_.shape.source, basis_.settings);
    (void)require_target(basis_.shape);
    kept_ = kept_by_holds(basis_.shape);
    applied_.message = kept_.everything;
    if (!applied_.message.empty())
        return applied_;
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, budget_us_);
    // Of groups the planner expects too many, and would sort all events for them.
    guc.set("enable_sort", "off");
    if (step_.planned.action == Action::compress_partition)
        compress_partition();
    else
        compress();
    return applied_;
}

} // namespace

Applied apply(const Basis& basis, const Step& step, std::int64_t lock_budget_us) {
    return Application(basis, step, lock_budget_us).apply();
}

} // namespace orchestry::events
