// Exact order statistics of numbers that do not fit into memory, from a few readings of all of
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace orchestry::base {

/// Each pass over the numbers narrows the range in which each wanted one lies, by counting; the
/// last pass keeps those that are left. Used as
///
///     PassSelect select(ranks, count, least, greatest, room);
///     while (!select.done()) {
///         (for all numbers, in any order:) select.feed(some);
///         select.end_pass();
///     }
///     select.value_at(rank);
///
/// For a few ranks there are two passes as a rule and never more than six.
class PassSelect {
  public:
    /// `ranks`: as for select_ranks(). `least` and `greatest`: of all the numbers but NaN, and
    /// `nans` of the `count` numbers are NaN. `room`: how many numbers may be kept at a time.
    PassSelect(std::span<const std::uint64_t> ranks, std::uint64_t count, std::uint64_t nans,
               double least, double greatest, std::size_t room);

    bool done() const noexcept { return cells_.empty(); }
    void feed(std::span<const double> values);
    void end_pass();
    double value_at(std::uint64_t rank) const;

  private:
    /// A range of numbers, as ordered keys, with at least one wanted rank in it.
    struct Cell {
        std::uint64_t lower; // keys from lower to upper
        std::uint64_t upper;
        std::uint64_t below; // how many numbers are less than all of the cell
        std::uint64_t count;
        std::size_t first; // its ranks: the indexes [first, end) of ranks_
        std::size_t end;
        int shift = 0; // a bin has 2^shift keys
        std::vector<std::uint64_t> bins = {};
        std::vector<double> kept = {};
    };
    void add_cell(std::vector<Cell>& cells, Cell cell);
    void split(const Cell& cell, std::vector<Cell>& cells);
    void prepare_pass();

    std::vector<std::uint64_t> ranks_;
    std::vector<double> found_; // beside ranks_
    std::vector<Cell> cells_;   // ascending, without what is found
    std::size_t room_;
    bool keeping_ = false;
};

} // namespace orchestry::base
