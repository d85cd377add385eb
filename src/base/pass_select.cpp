#include "base/pass_select.hpp"

#include "base/quantile_select.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace orchestry::base {

namespace {

constexpr std::uint64_t sign_bit = std::uint64_t{1} << 63;

/// A number whose order is that of the doubles, for all but NaN.
std::uint64_t key_of(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value + 0.0);
    return (bits & sign_bit) != 0 ? ~bits : bits | sign_bit;
}

double value_of(std::uint64_t key) {
    return std::bit_cast<double>((key & sign_bit) != 0 ? key & ~sign_bit : ~key);
}

/// How many bits a number has, without leading zeros.
int width_of(std::uint64_t number) { return 64 - std::countl_zero(number); }

/// All bins of a pass together.
constexpr std::size_t bins_in_all = std::size_t{1} << 18;

} // namespace

PassSelect::PassSelect(std::span<const std::uint64_t> ranks, std::uint64_t count,
                       std::uint64_t nans, double least, double greatest, std::size_t room)
    : ranks_(ranks.begin(), ranks.end()),
      found_(ranks.size(), std::numeric_limits<double>::quiet_NaN()), room_(room) {
    const std::uint64_t ordered = count - nans;
    const auto end = std::lower_bound(ranks_.begin(), ranks_.end(), ordered) - ranks_.begin();
    if (end > 0)
        add_cell(cells_, {.lower = key_of(least),
                          .upper = key_of(greatest),
                          .below = 0,
                          .count = ordered,
                          .first = 0,
                          .end = static_cast<std::size_t>(end)});
    prepare_pass();
}

void PassSelect::feed(std::span<const double> values) {
    for (const double value : values) {
        if (std::isnan(value))
            continue;
        const std::uint64_t key = key_of(value);
        const auto cell = std::partition_point(cells_.begin(), cells_.end(),
                                               [key](const Cell& c) { return c.upper < key; });
        if (cell == cells_.end() || key < cell->lower)
            continue;
        if (keeping_)
            cell->kept.push_back(value);
        else
            ++cell->bins[(key - cell->lower) >> cell->shift];
    }
}

void PassSelect::end_pass() {
    std::vector<Cell> next;
    for (Cell& cell : cells_) {
        if (!keeping_) {
            split(cell, next);
            continue;
        }
        std::vector<std::uint64_t> inside;
        for (std::size_t i = cell.first; i < cell.end; ++i)
            inside.push_back(ranks_[i] - cell.below);
        select_ranks(cell.kept, inside);
        for (std::size_t i = cell.first; i < cell.end; ++i)
            found_[i] = cell.kept[ranks_[i] - cell.below];
    }
    cells_ = std::move(next);
    prepare_pass();
}

double PassSelect::value_at(std::uint64_t rank) const {
    const auto place = std::lower_bound(ranks_.begin(), ranks_.end(), rank) - ranks_.begin();
    return found_[static_cast<std::size_t>(place)];
}

/// A cell of one key is found.
void PassSelect::add_cell(std::vector<Cell>& cells, Cell cell) {
    if (cell.lower < cell.upper) {
        cells.push_back(std::move(cell));
        return;
    }
    for (std::size_t i = cell.first; i < cell.end; ++i)
        found_[i] = value_of(cell.lower);
}

/// The bins of a cell that have wanted ranks become cells.
void PassSelect::split(const Cell& cell, std::vector<Cell>& cells) {
    std::uint64_t below = cell.below;
    std::size_t rank = cell.first;
    for (std::size_t bin = 0; rank < cell.end; ++bin) {
        const std::uint64_t count = cell.bins[bin];
        const std::size_t first = rank;
        while (rank < cell.end && ranks_[rank] < below + count)
            ++rank;
        const std::uint64_t lower = cell.lower + (static_cast<std::uint64_t>(bin) << cell.shift);
        const std::uint64_t last = lower + ((std::uint64_t{1} << cell.shift) - 1);
        if (rank > first)
            add_cell(cells, {.lower = lower,
                             .upper = std::min(last, cell.upper),
                             .below = below,
                             .count = count,
                             .first = first,
                             .end = rank});
        below += count;
    }
}

void PassSelect::prepare_pass() {
    std::uint64_t left = 0;
    for (const Cell& cell : cells_)
        left += cell.count;
    keeping_ = left <= room_;
    for (Cell& cell : cells_) {
        if (keeping_) {
            cell.kept.reserve(cell.count);
            continue;
        }
        const int bits = std::max(1, width_of(bins_in_all / cells_.size()) - 1);
        cell.shift = std::max(0, width_of(cell.upper - cell.lower) - bits);
        cell.bins.assign(((cell.upper - cell.lower) >> cell.shift) + 1, 0);
    }
}

} // namespace orchestry::base
