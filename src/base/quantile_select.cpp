#include "base/quantile_select.hpp"

#include <algorithm>

namespace orchestry::base {

std::vector<std::uint64_t> ranks_of(std::span<const double> fractions, std::uint64_t count) {
    std::vector<std::uint64_t> ranks;
    ranks.reserve(2 * fractions.size());
    for (const double fraction : fractions) {
        const QuantilePlace place = quantile_place(fraction, count);
        ranks.push_back(place.lower);
        ranks.push_back(place.upper);
    }
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    return ranks;
}

namespace {

/// `first` has the rank `base`. No NaN among the values.
void select_ordered(double* first, double* last, std::uint64_t base,
                    std::span<const std::uint64_t> ranks) {
    while (!ranks.empty()) {
        const std::size_t middle = ranks.size() / 2;
        double* const place = first + (ranks[middle] - base);
        // The neighbour of a place that is already found is the least or greatest of a part.
        if (place == first)
            std::iter_swap(first, std::min_element(first, last));
        else if (place == last - 1)
            std::iter_swap(place, std::max_element(first, last));
        else
            std::nth_element(first, place, last);
        select_ordered(first, place, base, ranks.first(middle));
        first = place + 1;
        base = ranks[middle] + 1;
        ranks = ranks.subspan(middle + 1);
    }
}

} // namespace

void select_ranks(std::span<double> values, std::span<const std::uint64_t> ranks) {
    double* const first = values.data();
    double* const nans =
        std::partition(first, first + values.size(), [](double v) { return !std::isnan(v); });
    const auto ordered = static_cast<std::uint64_t>(nans - first);
    const auto among_nans = std::lower_bound(ranks.begin(), ranks.end(), ordered);
    select_ordered(first, nans, 0,
                   ranks.first(static_cast<std::size_t>(among_nans - ranks.begin())));
}

} // namespace orchestry::base
