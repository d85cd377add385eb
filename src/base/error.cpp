#include "base/error.hpp"

#include <utility>

namespace orchestry::base {

Error::Error(const char* sqlstate, std::string message)
    : sqlstate_(sqlstate), message_(std::move(message)) {}

Error& Error::detail(std::string text) & {
    detail_ = std::move(text);
    return *this;
}

Error&& Error::detail(std::string text) && { return std::move(detail(std::move(text))); }

Error& Error::hint(std::string text) & {
    hint_ = std::move(text);
    return *this;
}

Error&& Error::hint(std::string text) && { return std::move(hint(std::move(text))); }

} // namespace orchestry::base
