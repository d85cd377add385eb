#include "base/instant_set.hpp"

#include <algorithm>

namespace orchestry::base {

namespace {

constexpr auto ends_at_or_before = [](const TimeExtent& extent, Instant t) {
    return extent.to <= t;
};

} // namespace

InstantSet::Extents::iterator InstantSet::after(Instant t) {
    return std::lower_bound(extents_.begin(), extents_.end(), t, ends_at_or_before);
}

InstantSet::Extents::const_iterator InstantSet::after(Instant t) const {
    return std::lower_bound(extents_.begin(), extents_.end(), t, ends_at_or_before);
}

const TimeExtent* InstantSet::find(Instant t) const {
    const auto found = after(t);
    return found != extents_.end() && found->from <= t ? &*found : nullptr;
}

bool InstantSet::overlaps(const TimeExtent& extent) const {
    const auto found = after(extent.from);
    return extent.from < extent.to && found != extents_.end() && extent.overlaps(*found);
}

void InstantSet::add(const TimeExtent& extent) {
    if (extent.from >= extent.to)
        return;
    // What touches the interval becomes one with it.
    auto first = std::lower_bound(extents_.begin(), extents_.end(), extent.from,
                                  [](const TimeExtent& e, Instant t) { return e.to < t; });
    TimeExtent whole = extent;
    auto last = first;
    for (; last != extents_.end() && last->from <= extent.to; ++last) {
        whole.from = std::min(whole.from, last->from);
        whole.to = std::max(whole.to, last->to);
    }
    if (first == last) {
        extents_.insert(first, whole);
        return;
    }
    *first = whole;
    extents_.erase(first + 1, last);
}

void InstantSet::remove(const TimeExtent& extent) {
    if (extent.from >= extent.to)
        return;
    auto it = after(extent.from);
    while (it != extents_.end() && it->from < extent.to) {
        const TimeExtent whole = *it;
        if (whole.from < extent.from && whole.to > extent.to) {
            it->to = extent.from;
            extents_.insert(it + 1, {extent.to, whole.to});
            return;
        }
        if (whole.from < extent.from) {
            it->to = extent.from;
            ++it;
        } else if (whole.to > extent.to) {
            it->from = extent.to;
            return;
        } else {
            it = extents_.erase(it);
        }
    }
}

void InstantSet::add(const InstantSet& other) {
    for (const TimeExtent& extent : other)
        add(extent);
}

void InstantSet::remove(const InstantSet& other) {
    for (const TimeExtent& extent : other)
        remove(extent);
}

void InstantSet::coarsen(std::size_t most) {
    most = std::max<std::size_t>(most, 1);
    while (extents_.size() > most) {
        auto smallest = extents_.begin() + 1;
        for (auto it = smallest; it != extents_.end(); ++it)
            if (it->from.us - (it - 1)->to.us < smallest->from.us - (smallest - 1)->to.us)
                smallest = it;
        (smallest - 1)->to = smallest->to;
        extents_.erase(smallest);
    }
}

} // namespace orchestry::base
