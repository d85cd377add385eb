// A server ERROR as a C++ exception, nothing lost: SQLSTATE, message, detail, hint, context,
// position.
#pragma once

#include "base/error.hpp"
#include "pg/guard.hpp"

namespace orchestry::pg {

class PgError : public std::exception {
  public:
    /// Owns `context`, in which `data` lives.
    PgError(ErrorData* data, MemoryContext context) noexcept : data_(data), context_(context) {}
    PgError(PgError&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          context_(std::exchange(other.context_, nullptr)) {}
    PgError(const PgError&) = delete;
    PgError& operator=(const PgError&) = delete;
    PgError& operator=(PgError&&) = delete;
    ~PgError() override;

    const char* what() const noexcept override { return message(); }
    const char* message() const noexcept { return data_->message ? data_->message : ""; }
    const char* detail() const noexcept { return data_->detail ? data_->detail : ""; }
    const char* hint() const noexcept { return data_->hint ? data_->hint : ""; }
    const char* context() const noexcept { return data_->context ? data_->context : ""; }
    int sqlerrcode() const noexcept { return data_->sqlerrcode; }
    /// Five characters, as in the protocol.
    std::string sqlstate() const;

    /// Hands the data over to the entry that re-raises it: its memory becomes a child of
    /// ErrorContext, which the server resets when it has dealt with the error.
    ErrorData* release() noexcept;

  private:
    ErrorData* data_;
    MemoryContext context_;
};

/// What any error says, copied out of whatever it was thrown as.
struct Failure {
    std::string sqlstate;
    std::string message;
    std::string detail;
    std::string hint;
    std::string context;

    bool is(const char* state) const { return sqlstate == state; }
};

/// Describes the exception being handled. Call it inside a catch block only. Without memory it says
/// just that.
Failure describe_current_exception() noexcept;

/// The server's packed form of a five character SQLSTATE.
int pack_sqlstate(const char* sqlstate) noexcept;

/// Throws `failure` again as the server's own error.
[[noreturn]] void raise(const Failure& failure);

/// Raises `failure` as a WARNING or LOG line (`level` below ERROR).
void report(int level, const Failure& failure);

/// A plain message at `level` (below ERROR), with an optional detail and hint.
void report(int level, const std::string& message, const std::string& detail = {},
            const std::string& hint = {});

} // namespace orchestry::pg
