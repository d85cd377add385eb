// Plain values one after the other in a string of bytes, in the byte order of the machine: for data
// that one process hands to another on the same machine, never for storage.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace orchestry::base {

/// Writes into memory that somebody else has made large enough.
class ByteWriter {
  public:
    explicit ByteWriter(char* to) noexcept : to_(to) {}

    /// The size of a text as put() writes it.
    static std::size_t size_of(std::string_view text) noexcept {
        return sizeof(std::uint32_t) + text.size();
    }

    template <typename T>
    void put(T value) noexcept {
        static_assert(std::is_arithmetic_v<T>);
        std::memcpy(to_, &value, sizeof value);
        to_ += sizeof value;
    }
    /// The text must be shorter than 4 GB.
    void put(std::string_view text) noexcept {
        put(static_cast<std::uint32_t>(text.size()));
        if (!text.empty())
            std::memcpy(to_, text.data(), text.size());
        to_ += text.size();
    }
    const char* position() const noexcept { return to_; }

  private:
    char* to_;
};

/// Reads what ByteWriter has written, and never beyond the end. Error XX001 when the bytes are
/// something else.
class ByteReader {
  public:
    explicit ByteReader(std::string_view bytes) noexcept : rest_(bytes) {}

    template <typename T>
    T get() {
        static_assert(std::is_arithmetic_v<T>);
        T value{};
        std::memcpy(&value, take(sizeof value).data(), sizeof value);
        return value;
    }
    /// The text is part of the bytes that are read.
    std::string_view get_text() { return take(get<std::uint32_t>()); }
    /// Error XX001 unless everything has been read.
    void finish() const { require(rest_.empty()); }
    /// Error XX001 when a condition on what was read does not hold.
    static void require(bool holds) {
        if (!holds)
            throw Error(errc::data_corrupted, "invalid serialized aggregate state");
    }

  private:
    std::string_view take(std::size_t size) {
        require(size <= rest_.size());
        const std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }

    std::string_view rest_;
};

} // namespace orchestry::base
