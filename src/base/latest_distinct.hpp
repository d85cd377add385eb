// The newest distinct texts of a stream of texts with times.
#pragma once

#include "base/bytes.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace orchestry::base {

/// Keeps the `capacity` distinct texts whose latest times are the latest, from the newest to the
/// oldest; of equal times, the text that is smaller byte by byte comes first. So the result does
/// not depend on the order in which texts come.
///
/// That many texts are enough: what is pushed out can only come back with a later time, and then it
/// is judged by that time alone. A text costs a walk over the kept ones, or a comparison of two
/// times when it is older than all of them.
template <template <typename> class Allocator = std::allocator>
class LatestDistinct {
  public:
    /// The largest capacity: it keeps the walks short.
    static constexpr std::int32_t max_capacity = 1000;

    /// A text that is kept, and the latest of its times.
    struct Entry {
        std::int64_t at = 0;
        char* text = nullptr;
        std::size_t size = 0;
        std::size_t room = 0; ///< how many bytes `text` points to

        std::string_view value() const noexcept { return {text, size}; }
    };

    /// Error 22023 when `capacity` is not from 1 to max_capacity.
    LatestDistinct(std::int32_t capacity, const Allocator<char>& allocator)
        : capacity_(checked(capacity)), allocator_(allocator),
          entries_(Allocator<Entry>(allocator)) {}
    LatestDistinct(const LatestDistinct&) = delete;
    LatestDistinct& operator=(const LatestDistinct&) = delete;
    ~LatestDistinct() {
        for (Entry& entry : entries_)
            release(entry);
    }

    std::int32_t capacity() const noexcept { return capacity_; }
    const std::vector<Entry, Allocator<Entry>>& entries() const noexcept { return entries_; }

    /// Whether a text of this time can make a difference: for callers to whom the text itself is
    /// not at hand yet.
    bool is_wanted(std::int64_t at) const noexcept { return !full() || at >= entries_.back().at; }

    void add(std::string_view value, std::int64_t at) {
        if (!is_wanted(at))
            return;
        const auto known = std::find_if(entries_.begin(), entries_.end(),
                                        [&](const Entry& entry) { return entry.value() == value; });
        if (known != entries_.end()) {
            if (at > known->at) {
                known->at = at;
                move_up(known);
            }
            return;
        }
        if (!full())
            entries_.emplace_back();
        else if (!comes_before(value, at, entries_.back()))
            return;
        Entry& last = entries_.back();
        assign(last, value);
        last.at = at;
        move_up(entries_.end() - 1);
    }

    /// Adds what another has kept. Error 22023 when its capacity is another one.
    void merge(const LatestDistinct& other) {
        require_capacity(other.capacity_);
        for (const Entry& entry : other.entries_)
            add(entry.value(), entry.at);
    }

    /// Error 22023 unless this is the capacity.
    void require_capacity(std::int32_t capacity) const {
        if (checked(capacity) != capacity_)
            throw Error(errc::invalid_parameter, "the number of distinct values must be the same "
                                                 "for all rows of a group")
                .detail("It is " + std::to_string(capacity_) + " for one row and " +
                        std::to_string(capacity) + " for another.");
    }

    // --- from process to process ----------------------------------------------------------------

    std::size_t encoded_size() const noexcept {
        std::size_t size = sizeof(std::int32_t) + sizeof(std::uint32_t);
        for (const Entry& entry : entries_)
            size += sizeof entry.at + ByteWriter::size_of(entry.value());
        return size;
    }
    /// Writes encoded_size() bytes.
    void encode(ByteWriter& to) const noexcept {
        to.put(capacity_);
        to.put(static_cast<std::uint32_t>(entries_.size()));
        for (const Entry& entry : entries_) {
            to.put(entry.at);
            to.put(entry.value());
        }
    }
    /// Reads the capacity with which encoded bytes begin; then an object of that capacity reads the
    /// rest. Error XX001 for what encode() does not write.
    static std::int32_t decode_capacity(ByteReader& from) {
        const auto capacity = from.get<std::int32_t>();
        ByteReader::require(capacity >= 1 && capacity <= max_capacity);
        return capacity;
    }
    void decode_entries(ByteReader& from) {
        const auto count = from.get<std::uint32_t>();
        ByteReader::require(count <= static_cast<std::uint32_t>(capacity_));
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto at = from.get<std::int64_t>();
            add(from.get_text(), at);
        }
        from.finish();
        ByteReader::require(entries_.size() == count); // each text once
    }

  private:
    using Iterator = typename std::vector<Entry, Allocator<Entry>>::iterator;

    static std::int32_t checked(std::int32_t capacity) {
        if (capacity < 1 || capacity > max_capacity)
            throw Error(errc::invalid_parameter,
                        "the number of distinct values must be from 1 to " +
                            std::to_string(max_capacity) + ", not " + std::to_string(capacity));
        return capacity;
    }

    bool full() const noexcept { return entries_.size() == static_cast<std::size_t>(capacity_); }

    static bool comes_before(std::string_view value, std::int64_t at, const Entry& other) noexcept {
        return at != other.at ? at > other.at : value < other.value();
    }

    /// Moves an entry that has become newer to its place.
    void move_up(Iterator entry) {
        const auto place = std::find_if(entries_.begin(), entry, [&](const Entry& other) {
            return comes_before(entry->value(), entry->at, other);
        });
        std::rotate(place, entry, entry + 1);
    }

    void release(Entry& entry) noexcept {
        if (entry.text)
            allocator_.deallocate(entry.text, entry.room);
        entry.text = nullptr;
    }

    /// Copies a text into the room of an entry, unless that is too small or far too large.
    void assign(Entry& entry, std::string_view value) {
        constexpr std::size_t least_room = 64;
        if (value.size() > entry.room || entry.room > 4 * std::max(value.size(), least_room)) {
            release(entry);
            entry.room = std::bit_ceil(std::max(value.size(), least_room));
            entry.text = allocator_.allocate(entry.room);
        }
        if (!value.empty())
            std::memcpy(entry.text, value.data(), value.size());
        entry.size = value.size();
    }

    std::int32_t capacity_;
    Allocator<char> allocator_;
    std::vector<Entry, Allocator<Entry>> entries_; // in the order of the result
};

} // namespace orchestry::base
