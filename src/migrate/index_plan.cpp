#include "migrate/index_plan.hpp"

#include "base/text.hpp"

namespace orchestry::migrate {

const char* to_string(IndexAction action) {
    switch (action) {
    case IndexAction::clear:
        return "clear";
    case IndexAction::build:
        return "build";
    case IndexAction::declare:
        return "declare";
    case IndexAction::attach:
        break;
    }
    return "attach";
}

std::vector<IndexStep> plan_index(const std::vector<IndexTarget>& targets) {
    std::vector<IndexStep> steps;
    for (const IndexTarget& target : targets) {
        if (target.is_covered)
            continue;
        const auto add = [&](IndexAction action, const char* reason) {
            steps.push_back({action, target.relid, reason, {}});
        };
        if (target.state == IndexState::stranger) {
            steps.push_back({target.is_partitioned ? IndexAction::declare : IndexAction::build,
                             target.relid, "the index is missing",
                             "something else has the name \"" + target.index_name +
                                 "\" in the schema of " + target.name});
            continue;
        }
        if (target.state == IndexState::broken)
            add(IndexAction::clear, "a build that was interrupted has left it, not valid");
        if (target.state != IndexState::ready) {
            if (target.is_partitioned)
                add(IndexAction::declare, "becomes valid when each partition has its own");
            else
                add(IndexAction::build, "the index is missing");
        }
        if (target.parent != 0 && !target.is_attached)
            add(IndexAction::attach, "is part of the index of the partitioned table");
    }
    return steps;
}

std::string partition_index_name(const std::string& partition, const std::string& index) {
    return base::fitting_name(partition + "_" + index);
}

} // namespace orchestry::migrate
