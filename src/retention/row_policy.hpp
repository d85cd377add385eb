// Retention policies for single rows: checked against their table, and as SQL.
#pragma once

#include "catalog/hold_condition.hpp"
#include "retention/policy.hpp"
#include "retention/row_plan.hpp"

namespace orchestry::retention {

/// The column that says how old a row is.
struct TimeColumn {
    AttrNumber number = InvalidAttrNumber;
    std::string name;      ///< unquoted
    Oid type = InvalidOid; ///< of the column, or of what its domain is over
};

/// Settings that fit their table, ready for plan_rows().
class CheckedRowPolicy {
  public:
    /// `settings`: with nothing left open, as completed_rows() answers. Raises 22023 when the
    /// settings are wrong in themselves or do not fit the table, 42703 for columns that are not
    /// there; the message names the argument.
    CheckedRowPolicy(Settings settings, Oid relid);
    CheckedRowPolicy(const CheckedRowPolicy&) = delete;
    CheckedRowPolicy& operator=(const CheckedRowPolicy&) = delete;

    const Settings& settings() const noexcept { return settings_; }
    const TimeColumn& column() const noexcept { return column_; }
    const RowPolicy& plan() const noexcept { return plan_; }
    RowPolicy& plan() noexcept { return plan_; }

    /// The condition that the policy's rows meet, over the columns of a table called `row`.
    /// `held`: the condition of the rows that stay whatever the policy says; empty: none.
    std::string condition(std::int64_t horizon, const std::string& held) const;
    /// The condition that rows with a time in an extent meet, likewise; empty: all rows do.
    std::string within(const base::TimeExtent& extent) const;

    /// The type in which the time column's values are compared, qualified.
    const char* type_name() const;

    /// What the table is called in statements with condition().
    static constexpr const char* row = "orchestry_row";

  private:
    std::string keep_last_condition() const;

    Settings settings_;
    Oid relid_;
    TimeColumn column_;
    pg::ServerZone zone_;
    RowPolicy plan_;
};

/// What the settings leave open: the zone, the time column of a partitioned table, what the numbers
/// of a time column count, the schema of the archive; and "where" as the server writes it. The last
/// three are a matter of the rows and the search_path of now, so they are remembered. Raises what
/// check_predicate() raises, and 22023 when the numbers do not tell what they count.
Settings completed_rows(Settings settings, Oid relid);

/// A condition that a hold's rows of a table meet; "true": all do. `others`: other columns of a
/// time type by which a hold on a span of time counts.
std::string held_condition(const catalog::Hold& hold, const CheckedRowPolicy& policy,
                           const std::vector<catalog::HeldColumn>& others);

} // namespace orchestry::retention
