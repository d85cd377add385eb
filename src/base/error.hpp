// The one exception type that our own code throws, and the SQLSTATEs it throws with.
// PostgreSQL's errors are another type (src/pg); entry points turn both into an ereport.
#pragma once

#include <exception>
#include <string>
#include <type_traits>

namespace orchestry::base {

/// SQLSTATEs, as string literals of five characters.
namespace errc {
inline constexpr const char* out_of_range = "22003";
inline constexpr const char* null_value = "22004";
inline constexpr const char* datetime_overflow = "22008";
inline constexpr const char* invalid_parameter = "22023";
inline constexpr const char* invalid_text_representation = "22P02";
inline constexpr const char* invalid_binary_representation = "22P03";
inline constexpr const char* active_transaction = "25001";
inline constexpr const char* feature_not_supported = "0A000";
inline constexpr const char* not_null_violation = "23502";
inline constexpr const char* serialization_failure = "40001";
inline constexpr const char* insufficient_privilege = "42501";
inline constexpr const char* name_too_long = "42622";
inline constexpr const char* undefined_column = "42703";
inline constexpr const char* undefined_object = "42704";
inline constexpr const char* duplicate_object = "42710";
inline constexpr const char* datatype_mismatch = "42804";
inline constexpr const char* wrong_object_type = "42809";
inline constexpr const char* undefined_table = "42P01";
inline constexpr const char* duplicate_table = "42P07";
inline constexpr const char* program_limit_exceeded = "54000";
inline constexpr const char* not_prerequisite_state = "55000";
inline constexpr const char* lock_not_available = "55P03";
inline constexpr const char* query_canceled = "57014";
inline constexpr const char* internal = "XX000";
inline constexpr const char* data_corrupted = "XX001";
} // namespace errc

/// An error meant for the user, in PostgreSQL's message style: the message has no capital and no
/// full stop, detail and hint are sentences. Written as
/// `throw Error(errc::invalid_parameter, "...").detail("...").hint("...");`
class Error : public std::exception {
  public:
    /// `sqlstate`: one of errc, or another literal of five characters; it is not copied.
    Error(const char* sqlstate, std::string message);

    Error& detail(std::string text) &;
    Error&& detail(std::string text) &&;
    Error& hint(std::string text) &;
    Error&& hint(std::string text) &&;

    const char* sqlstate() const noexcept { return sqlstate_; }
    const std::string& message() const noexcept { return message_; }
    /// Empty when there is none.
    const std::string& detail() const noexcept { return detail_; }
    /// Empty when there is none.
    const std::string& hint() const noexcept { return hint_; }
    /// The message alone.
    const char* what() const noexcept override { return message_.c_str(); }

  private:
    const char* sqlstate_;
    std::string message_;
    std::string detail_;
    std::string hint_;
};

// A throw moves the object; were that to throw in its turn, the server would terminate.
static_assert(std::is_nothrow_move_constructible_v<Error>);

} // namespace orchestry::base
