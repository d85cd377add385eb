#include "events/apply.hpp"

#include "pg/fault.hpp"

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

/// The statement of a step, as the holds are now.
std::string statement_of(const Basis& basis, const PlannedStep& step, const Kept& kept) {
    const CheckedPolicy policy(basis.settings);
    return compress_sql(basis.shape, policy.plan(), basis.settings.samples, step.lower, step.upper,
                        removable(basis.shape, kept, {step.lower, step.upper}));
}

} // namespace

Planned plan_job(const catalog::Job& job, base::Instant now) {
    Planned planned;
    Basis& basis = planned.basis;
    basis.job = job.id;
    basis.settings = load_policy(job.id).settings;
    basis.shape = read_shape(job.target, basis.settings);
    basis.target = require_target(basis.shape);
    basis.lock_requests = {{job.target, RowExclusiveLock},
                           {basis.target, RowExclusiveLock},
                           {catalog::hold_table(), catalog::hold_lock_mode}};
    const CheckedPolicy policy(basis.settings);
    const Kept kept = kept_by_holds(basis.shape);
    for (PlannedStep& step : plan(inspect(basis.shape, policy.plan(), now), policy.plan(), now)) {
        std::string statement =
            step.action == Action::compress ? statement_of(basis, step, kept) : "";
        planned.steps.push_back({std::move(step), std::move(statement)});
    }
    return planned;
}

namespace {

/// Why a step cannot be applied any more; empty: it can. The caller has the locks.
std::string changed_since(const Basis& basis) {
    const Shape& shape = basis.shape;
    if (pg::relation_name(shape.source) != shape.source_name)
        return "the table is gone or has another name by now";
    if (catalog::owner_of(shape.source) != GetUserId())
        return "the table has another owner by now";
    if (load_policy(basis.job).settings != basis.settings)
        return "the policy was changed meanwhile";
    if (find_target(shape.target_name) != basis.target)
        return "the target is another table by now";
    return {};
}

} // namespace

Applied apply(const Basis& basis, const Step& step, std::int64_t lock_budget_us) {
    Applied applied;
    applied.lock_wait_us = pg::lock_relations(basis.lock_requests, lock_budget_us);
    applied.message = changed_since(basis);
    if (!applied.message.empty())
        return applied;
    Basis current = basis;
    current.shape = read_shape(basis.shape.source, basis.settings);
    (void)require_target(current.shape);
    const Kept kept = kept_by_holds(current.shape);
    if (!kept.everything.empty()) {
        applied.message = kept.everything;
        return applied;
    }
    pg::GucLevel guc;
    pg::set_lock_timeout(guc, lock_budget_us);
    pg::Spi spi;
    spi.run(statement_of(current, step.planned, kept));
    ORCHESTRY_FAULT_POINT("events compressed");
    applied.rows = spi.row(0).bigint(1);
    applied.message =
        "into " + std::to_string(spi.row(0).bigint(2)) + " rows of " + current.shape.target_name;
    applied.done = true;
    return applied;
}

} // namespace orchestry::events
