#include "partition/report.hpp"

#include "base/civil.hpp"
#include "catalog/retention_horizon.hpp"
#include "pg/xact.hpp"

#include <algorithm>

namespace orchestry::partition {

namespace {

using catalog::Explanation;

/// A set as settings say that it is to be read.
struct View {
    CheckedPolicy policy;
    Set set;

    View(Settings settings, Oid parent)
        : policy(std::move(settings), catalog::require_key_column(parent), Names::checked_before),
          set(inspect(parent, policy.kind())) {}
};

/// A set with its policy.
struct Managed : View {
    catalog::Job job;

    Managed(catalog::Job its_job, Oid parent)
        : View(load_settings(its_job.id), parent), job(std::move(its_job)) {}
};

std::string phase_of(const Member& member, std::int64_t here) {
    if (member.detach_pending)
        return "detaching";
    if (member.range.contains(here))
        return "open";
    return member.range.lower > Bound::value(here) ? "ahead" : "past";
}

/// The instant of a bound: what its wall clock shows is read in the policy's zone.
std::optional<base::Instant> instant_of_bound(const View& managed, const Bound& bound) {
    const KeyKind kind = managed.set.kind;
    if (bound.kind != Bound::Kind::value || !is_time(kind))
        return std::nullopt;
    if (bound.at == base::minus_infinity.us || bound.at == base::plus_infinity.us)
        return base::Instant{bound.at};
    const base::Instant at = instant_of(kind, bound.at);
    return is_wall_clock(kind)
               ? base::to_instant(*managed.policy.plan().zone, base::LocalTime{at.us})
               : at;
}

bool is_number(KeyKind kind) {
    return !is_wall_clock(kind) && kind != KeyKind::timestamptz && kind != KeyKind::uuid_v7;
}

std::optional<std::int64_t> number_of_bound(KeyKind kind, const Bound& bound) {
    return is_number(kind) && bound.kind == Bound::Kind::value ? std::optional(bound.at)
                                                               : std::nullopt;
}

/// Where the gaps end that the policy fills.
std::vector<Bound> ends_of_gaps(const Set& set, const Policy& policy, base::Instant now) {
    Bound covered = Bound::maxvalue();
    bool has_gap = false;
    for (const Member& member : set.members) {
        has_gap = has_gap || covered < member.range.lower || member.detach_pending;
        covered = member.range.upper;
    }
    std::vector<Bound> ends;
    if (has_gap) // which is rare: only then the catalogs are asked for more
        for (const Range& gap :
             gaps_to_fill(set, policy, now,
                          catalog::retention_horizon(set.relid, set.kind, set.position, now,
                                                     catalog::Leaving::moved)))
            ends.push_back(gap.upper);
    return ends;
}

std::vector<PartitionRow> list_partitions_of(const catalog::Job& job, base::Instant now) {
    const Oid parent = job.target;
    const Managed managed(job, parent);
    const Set& set = managed.set;
    const std::int64_t at = here(set, managed.policy.plan(), now);
    const std::vector<Bound> gaps = ends_of_gaps(set, managed.policy.plan(), now);
    std::vector<PartitionRow> rows;
    for (const Member& member : set.members) {
        const Range& range = member.range;
        rows.push_back({parent, member.relid, false, instant_of_bound(managed, range.lower),
                        instant_of_bound(managed, range.upper),
                        number_of_bound(set.kind, range.lower),
                        number_of_bound(set.kind, range.upper),
                        "FROM (" + bound_sql(set.kind, range.lower, member.exact_lower) + ") TO (" +
                            bound_sql(set.kind, range.upper, member.exact_upper) + ")",
                        phase_of(member, at), job.id,
                        !member.detach_pending &&
                            std::find(gaps.begin(), gaps.end(), range.lower) != gaps.end()});
    }
    if (set.fallback)
        rows.push_back(
            {parent, set.fallback->relid, true, {}, {}, {}, {}, "DEFAULT", "default", job.id});
    return rows;
}

} // namespace

std::vector<PartitionRow> list_partitions(base::Instant now) {
    const bool monitor = catalog::may_act_for(ROLE_PG_MONITOR);
    std::vector<PartitionRow> rows;
    for (const catalog::Job& job : catalog::jobs_of(InvalidOid)) {
        if (job.kind != "partition" || job.restored || !OidIsValid(job.owner) ||
            !(monitor || catalog::may_act_for(job.owner)) ||
            !catalog::has_supported_key(job.target))
            continue;
        std::vector<PartitionRow> more;
        const auto failure = pg::in_subtransaction([&] { more = list_partitions_of(job, now); });
        if (failure && failure->is(base::errc::query_canceled))
            pg::raise(*failure);
        if (failure) // one policy that is wrong does not hide the others
            pg::report(WARNING,
                       "the partitions of " + job.target_name +
                           " are not listed: " + failure->message,
                       failure->detail, failure->hint);
        rows.insert(rows.end(), more.begin(), more.end());
    }
    return rows;
}

namespace {

/// How far the partitions go without a gap from where the set stands; the end of what is wanted is
/// compared with it.
struct Runway {
    Bound end;
    bool enough = false;
};

Runway runway_of(const View& managed, base::Instant now) {
    const Set& set = managed.set;
    const Policy& policy = managed.policy.plan();
    const std::int64_t at = here(set, policy, now);
    Bound end = Bound::value(at);
    for (const Member& member : set.members)
        if (!member.detach_pending && member.range.lower <= end)
            end = std::max(end, member.range.upper);
    return {end, end >= wanted(set, policy, Ruler(set, policy), now).upper};
}

std::string days_and_hours(std::int64_t us) {
    const std::int64_t days = us / base::us_per_day;
    if (days > 0)
        return std::to_string(days) + (days == 1 ? " day" : " days");
    const std::int64_t hours = us / base::us_per_hour;
    return std::to_string(hours) + (hours == 1 ? " hour" : " hours");
}

std::string describe_runway(const View& managed, const Runway& runway, base::Instant now) {
    const Set& set = managed.set;
    if (runway.end == Bound::maxvalue() ||
        (is_time(set.kind) && runway.end.at == base::plus_infinity.us))
        return "without end";
    const std::int64_t at = here(set, managed.policy.plan(), now);
    if (!is_time(set.kind))
        return std::to_string(runway.end.at - at) + " keys";
    return days_and_hours(instant_of(set.kind, runway.end.at).us - instant_of(set.kind, at).us);
}

/// What is planned next, or when it will be.
void explain_next(const Managed& managed, base::Instant now, Explanation& policy) {
    const Set& set = managed.set;
    const ServerWorld world(set);
    for (const PlannedStep& step : plan(set, managed.policy.plan(), now, world)) {
        if (step.action == Action::leave)
            continue;
        policy.state = step.blocked_by.empty() ? "due" : "blocked";
        policy.reason = step.blocked_by.empty() ? step.reason : step.blocked_by;
        policy.next_action =
            std::string(to_string(step.action)) + " " +
            (step.name.empty() ? step.object : set.schema + "." + pg::quote_identifier(step.name));
        policy.next_at = managed.job.next_run_at;
        return;
    }
    policy.next_action = "create";
    policy.next_at = next_need(set, managed.policy.plan(), now);
}

std::string describe_member(const Member& member, const Ruler& ruler) {
    if (member.detach_pending)
        return "its detach was interrupted and will be completed";
    if (member.range.upper == Bound::maxvalue())
        return "reaches to MAXVALUE: left as it is";
    if (member.range.lower == Bound::minvalue())
        return "begins at MINVALUE: left as it is";
    return ruler.is_interval(member.range) ? "one step of the policy"
                                           : "of another width or alignment: left as it is";
}

} // namespace

std::vector<Explanation> explain(Oid parent, base::Instant now) {
    catalog::require_owner_of(parent);
    const catalog::AsOwner owner(parent); // a plan may have to look into the default partition
    const Managed managed(catalog::get_job(require_policy(parent).job), parent);
    const Set& set = managed.set;
    const catalog::JobId job = managed.job.id;
    std::vector<Explanation> rows;

    const Runway runway = runway_of(managed, now);
    Explanation policy{job, set.quoted, "ok", {}, {}, {}};
    policy.reason = "runway of " + describe_runway(managed, runway, now);
    explain_next(managed, now, policy);
    if (managed.job.paused) {
        policy.state = "paused";
        policy.reason = managed.job.pause_reason;
        policy.next_at = std::nullopt;
    }
    rows.push_back(std::move(policy));

    const Ruler ruler(set, managed.policy.plan());
    const std::int64_t at = here(set, managed.policy.plan(), now);
    for (const Member& member : set.members)
        rows.push_back({job,
                        member.quoted,
                        phase_of(member, at),
                        describe_member(member, ruler),
                        member.detach_pending ? to_string(Action::finalize_detach) : "",
                        {}});
    if (set.fallback)
        rows.push_back({job,
                        set.fallback->quoted,
                        "default",
                        ServerWorld(set).default_pages() > 0
                            ? "takes the rows that no partition takes, and has some or had"
                            : "takes the rows that no partition takes; it is empty",
                        {},
                        {}});
    return rows;
}

namespace {

/// A line of the timeline before its columns are aligned.
struct Line {
    std::string name;
    std::string bounds;
    std::int64_t bytes = -1; // less than 0: not a table
    std::string remark;
};

std::int64_t total_bytes(Oid relid) {
    pg::Spi spi;
    spi.run("SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_total_relation_size(t.relid)), "
            "0)::pg_catalog.int8 "
            "FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) t WHERE t.isleaf",
            relid);
    return spi.row(0).bigint(1);
}

std::string pretty_size(std::int64_t bytes) {
    pg::Spi spi;
    spi.run("SELECT pg_catalog.pg_size_pretty($1)", bytes);
    return spi.row(0).text(1);
}

/// Bounds as short as they can be: dates alone when every bound is a midnight.
class BoundTexts {
  public:
    BoundTexts(const Set& set, const Ruler& ruler) : set_(set), ruler_(ruler) {
        for (const Member& member : set.members)
            dates_only_ =
                dates_only_ && is_midnight(member.range.lower) && is_midnight(member.range.upper);
    }
    std::string operator()(const Range& range) const {
        return "[" + text(range.lower) + " .. " + text(range.upper) + ")";
    }

  private:
    bool is_finite_time(const Bound& bound) const {
        return is_time(set_.kind) && ruler_.reaches(bound);
    }
    bool is_midnight(const Bound& bound) const {
        return !is_finite_time(bound) || base::time_of_day_us(ruler_.label(bound.at)) == 0;
    }
    std::string text(const Bound& bound) const {
        if (!is_finite_time(bound))
            return bound_text(set_.kind, bound);
        const std::string full = base::to_string(ruler_.label(bound.at));
        return dates_only_ ? full.substr(0, full.find(' ')) : full;
    }

    const Set& set_;
    const Ruler& ruler_;
    bool dates_only_ = true;
};

std::string size_bar(std::int64_t bytes, std::int64_t most) {
    constexpr std::int64_t width = 20;
    if (bytes <= 0 || most <= 0)
        return {};
    // In floating point: the product of two sizes can be too large.
    const double share = static_cast<double>(bytes) / static_cast<double>(most);
    return std::string(std::max<std::size_t>(1, static_cast<std::size_t>(share * width)), '#');
}

std::string padded(std::string text, std::size_t width) {
    // Names may be UTF-8: what counts is characters.
    const auto characters =
        static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
            return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
        }));
    return text.append(characters < width ? width - characters : 0, ' ');
}

std::string rendered(const Line& line, std::size_t name_width, std::size_t bounds_width,
                     std::int64_t most) {
    constexpr std::size_t bar_width = 20;
    constexpr std::size_t size_width = 10;
    const std::string size = line.bytes < 0 ? "" : pretty_size(line.bytes);
    return padded(line.name, name_width) + "  " + padded(line.bounds, bounds_width) + "  " +
           padded(size_bar(line.bytes, most), bar_width) + "  " +
           std::string(size.size() < size_width ? size_width - size.size() : 0, ' ') + size + "  " +
           line.remark;
}

} // namespace

std::vector<std::string> timeline(Oid parent, const std::optional<Settings>& without_policy,
                                  base::Instant now) {
    if (!catalog::may_act_for(ROLE_PG_MONITOR))
        catalog::require_owner_of(parent);
    const bool has_policy = !without_policy || find_policy(parent);
    const View view(has_policy ? require_policy(parent).settings : *without_policy, parent);
    const Set& set = view.set;
    const Policy& policy = view.policy.plan();
    const Ruler ruler(set, policy);
    const BoundTexts bounds(set, ruler);
    const std::int64_t at = here(set, policy, now);

    std::vector<Line> lines;
    Bound covered = set.members.empty() ? Bound::minvalue() : set.members.front().range.lower;
    for (const Member& member : set.members) {
        if (covered < member.range.lower)
            lines.push_back({"!", bounds({covered, member.range.lower}), -1, "gap"});
        covered = std::max(covered, member.range.upper);
        const bool odd = has_policy && !member.detach_pending && !ruler.is_interval(member.range);
        lines.push_back({member.name, bounds(member.range), total_bytes(member.relid),
                         phase_of(member, at) + (odd ? ", odd" : "")});
    }
    if (set.fallback)
        lines.push_back({pg::relation_name(set.fallback->relid).value_or(""), "DEFAULT",
                         total_bytes(set.fallback->relid), "default"});

    std::size_t name_width = 0;
    std::size_t bounds_width = 0;
    std::int64_t most = 0;
    for (const Line& line : lines) {
        name_width = std::max(name_width, line.name.size());
        bounds_width = std::max(bounds_width, line.bounds.size());
        most = std::max(most, line.bytes);
    }
    std::vector<std::string> text;
    for (const Line& line : lines)
        text.push_back(rendered(line, name_width, bounds_width, most));
    if (has_policy) {
        const Runway runway = runway_of(view, now);
        text.push_back("runway " + describe_runway(view, runway, now) +
                       (runway.enough ? " ok" : " !"));
    }
    return text;
}

} // namespace orchestry::partition
