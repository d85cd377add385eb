// How often each text occurs in a stream of texts.
#pragma once

#include "base/arith.hpp"
#include "base/bytes.hpp"

#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace orchestry::base {

/// Counts by value, compared byte by byte. Up to a handful of values is searched one after the
/// other, as most columns worth counting have no more; beyond that there is a hash table.
template <template <typename> class Allocator = std::allocator>
class ValueCounts {
  public:
    struct Entry {
        const char* text = nullptr;
        std::size_t size = 0;
        std::int64_t count = 0;

        std::string_view value() const noexcept { return {text, size}; }
    };

    /// What the counts come to at least as a jsonb object, which holds no more than 256 MB.
    static constexpr std::size_t max_bytes = 0x0FFFFFFF;

    explicit ValueCounts(const Allocator<char>& allocator)
        : allocator_(allocator), entries_(Allocator<Entry>(allocator)),
          slots_(Allocator<std::uint32_t>(allocator)) {}
    ValueCounts(const ValueCounts&) = delete;
    ValueCounts& operator=(const ValueCounts&) = delete;
    ~ValueCounts() {
        for (const Entry& entry : entries_)
            allocator_.deallocate(const_cast<char*>(entry.text), entry.size);
    }

    /// In the order of their first coming.
    const std::vector<Entry, Allocator<Entry>>& entries() const noexcept { return entries_; }

    /// Counts a value `times` times; not at all when that is 0. Error 22023 when `times` is
    /// negative, 22003 when a count leaves 64 bits, 54000 when there are more values than a jsonb
    /// object can hold.
    void add(std::string_view value, std::int64_t times = 1) {
        if (times <= 0) {
            require_not_negative(times);
            return;
        }
        Entry& entry = entry_of(value);
        const std::optional<std::int64_t> sum = checked_add(entry.count, times);
        if (!sum)
            throw Error(errc::out_of_range, "a count of values is out of range");
        entry.count = *sum;
    }

    void merge(const ValueCounts& other) {
        for (const Entry& entry : other.entries_)
            add(entry.value(), entry.count);
    }

    // --- from process to process ----------------------------------------------------------------

    std::size_t encoded_size() const noexcept {
        std::size_t size = sizeof(std::uint32_t);
        for (const Entry& entry : entries_)
            size += sizeof entry.count + ByteWriter::size_of(entry.value());
        return size;
    }
    /// Writes encoded_size() bytes.
    void encode(ByteWriter& to) const noexcept {
        to.put(static_cast<std::uint32_t>(entries_.size()));
        for (const Entry& entry : entries_) {
            to.put(entry.count);
            to.put(entry.value());
        }
    }
    /// Adds what encode() has written. Error XX001 for anything else.
    void decode(ByteReader& from) {
        for (auto rest = from.get<std::uint32_t>(); rest > 0; --rest) {
            const auto count = from.get<std::int64_t>();
            ByteReader::require(count > 0);
            add(from.get_text(), count);
        }
        from.finish();
    }

  private:
    static constexpr std::size_t searched = 8; ///< how many values do without a hash table
    static constexpr std::uint32_t free_slot = 0xFFFFFFFF;

    static void require_not_negative(std::int64_t times) {
        if (times < 0)
            throw Error(errc::invalid_parameter,
                        "a value cannot be counted " + std::to_string(times) + " times")
                .hint("Leave out what is negative, for example with FILTER (WHERE times > 0).");
    }

    Entry& entry_of(std::string_view value) {
        if (slots_.empty()) {
            for (Entry& entry : entries_)
                if (entry.value() == value)
                    return entry;
            if (entries_.size() == searched)
                rehash();
            return append(value);
        }
        std::uint32_t& slot = slot_of(value);
        if (slot != free_slot)
            return entries_[slot];
        return append(value);
    }

    Entry& append(std::string_view value) {
        // In jsonb, each pair has two words of four bytes, and the number eight at least.
        bytes_ += value.size() + 16;
        if (bytes_ > max_bytes)
            throw Error(errc::program_limit_exceeded,
                        "too many different values to be counted in one group")
                .detail("Their counts do not fit into a jsonb object of 256 MB.");
        if (!slots_.empty() && 2 * (entries_.size() + 1) > slots_.size())
            rehash();
        char* const text = allocator_.allocate(value.size());
        if (!value.empty())
            std::memcpy(text, value.data(), value.size());
        entries_.push_back({text, value.size(), 0});
        if (!slots_.empty())
            slot_of(value) = static_cast<std::uint32_t>(entries_.size() - 1);
        return entries_.back();
    }

    /// Where the value is, or belongs.
    std::uint32_t& slot_of(std::string_view value) noexcept {
        const std::size_t mask = slots_.size() - 1;
        std::size_t i = std::hash<std::string_view>()(value) & mask;
        while (slots_[i] != free_slot && entries_[slots_[i]].value() != value)
            i = (i + 1) & mask;
        return slots_[i];
    }

    /// Makes the table large enough to be at most a quarter full.
    void rehash() {
        slots_.assign(std::bit_ceil(4 * (entries_.size() + 1)), free_slot);
        for (std::size_t i = 0; i < entries_.size(); ++i)
            slot_of(entries_[i].value()) = static_cast<std::uint32_t>(i);
    }

    Allocator<char> allocator_;
    std::vector<Entry, Allocator<Entry>> entries_;
    std::vector<std::uint32_t, Allocator<std::uint32_t>> slots_; // a power of two, or none
    std::size_t bytes_ = 0;
};

} // namespace orchestry::base
