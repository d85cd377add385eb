// The settings that alter_policy() is given: a jsonb object, read in the server's own syntax for
// each type.
#pragma once

#include "pg/spi.hpp"

namespace orchestry::catalog {

/// One setting of a patch. The getters raise 22004 for null, and what the type raises for text that
/// it cannot read.
class PatchEntry {
  public:
    /// `kind`: of the policy, for messages.
    PatchEntry(std::string key, std::optional<std::string> value, const char* kind)
        : key_(std::move(key)), value_(std::move(value)), kind_(kind) {}

    const std::string& key() const noexcept { return key_; }
    bool is_null() const noexcept { return !value_.has_value(); }
    const std::string& text() const;
    base::Span interval() const;
    std::int64_t bigint() const;
    std::int32_t integer() const;
    bool boolean() const;

  private:
    std::string key_;
    std::optional<std::string> value_;
    const char* kind_;
};

/// The settings of a patch: a jsonb object as text.
std::vector<PatchEntry> read_patch(const std::string& patch, const char* kind);

} // namespace orchestry::catalog
