// Sets of points in time, as half-open intervals that neither overlap nor touch.
#pragma once

#include "base/partition_key.hpp"

#include <memory_resource>
#include <vector>

namespace orchestry::base {

class InstantSet {
  public:
    using Extents = std::pmr::vector<TimeExtent>;

    explicit InstantSet(std::pmr::memory_resource* memory = std::pmr::get_default_resource())
        : extents_(memory) {}

    bool empty() const noexcept { return extents_.empty(); }
    std::size_t size() const noexcept { return extents_.size(); }
    /// In the order of time.
    Extents::const_iterator begin() const noexcept { return extents_.begin(); }
    Extents::const_iterator end() const noexcept { return extents_.end(); }

    /// The interval of the set in which `t` lies; nullptr when `t` is not in the set.
    const TimeExtent* find(Instant t) const;
    bool overlaps(const TimeExtent& extent) const;

    /// Adds or removes the points of an interval; of one that is empty there are none.
    void add(const TimeExtent& extent);
    void remove(const TimeExtent& extent);
    void add(const InstantSet& other);
    void remove(const InstantSet& other);

    /// Leaves at most `most` intervals, one at least, by filling the smallest gaps.
    void coarsen(std::size_t most);

  private:
    /// The first interval that ends after `t`.
    Extents::iterator after(Instant t);
    Extents::const_iterator after(Instant t) const;

    Extents extents_;
};

} // namespace orchestry::base
