// Result<T>: a value or an Error; never ignored silently.
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace dure {

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }

}  // namespace dure

#define DURE_CONCAT_INNER(a, b) a##b
#define DURE_CONCAT(a, b) DURE_CONCAT_INNER(a, b)

// DURE_TRY(auto page, store.range(request));  declares `page` or returns the error from this function.
#define DURE_TRY(declaration, expression)                                                                          \
  auto DURE_CONCAT(dure_try_, __LINE__) = (expression);                                                            \
  if (!DURE_CONCAT(dure_try_, __LINE__)) return ::dure::fail(std::move(DURE_CONCAT(dure_try_, __LINE__)).error()); \
  declaration = std::move(*DURE_CONCAT(dure_try_, __LINE__))

// DURE_CHECK(disk.sync(fd));  returns the error of a Status from this function.
#define DURE_CHECK(expression) \
  if (auto dure_check_ = (expression); !dure_check_) return ::dure::fail(std::move(dure_check_).error())

// DURE_ASSERT: an invariant of our own; stays on in release and ends the process.
#define DURE_ASSERT(condition) ((condition) ? void(0) : ::dure::assertion_failed(#condition, __FILE__, __LINE__))

namespace dure {
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);
}
