#include "base/error.h"

#include <cstring>

#include <fmt/format.h>

namespace dure {

Error Error::with_context(std::string_view what) && {
  message = fmt::format("{}: {}", what, message);
  return std::move(*this);
}

Error not_found(std::string_view resource, std::string_view name) {
  return {404, "NotFound", fmt::format("{} \"{}\" not found", resource, name)};
}

Error already_exists(std::string_view resource, std::string_view name) {
  return {409, "AlreadyExists", fmt::format("{} \"{}\" already exists", resource, name)};
}

Error conflict(std::string_view resource, std::string_view name, std::string_view why) {
  return {409, "Conflict", fmt::format("Operation cannot be fulfilled on {} \"{}\": {}", resource, name, why)};
}

Error bad_request(std::string_view why) { return {400, "BadRequest", std::string(why)}; }
Error unauthorized() { return {401, "Unauthorized", "Unauthorized"}; }
Error forbidden(std::string_view why) { return {403, "Forbidden", std::string(why)}; }
Error gone(std::string_view why) { return {410, "Expired", std::string(why)}; }
Error internal(std::string_view why) { return {500, "InternalError", std::string(why)}; }
Error unavailable(std::string_view why) { return {503, "ServiceUnavailable", std::string(why)}; }
Error timed_out(std::string_view why) { return {504, "Timeout", std::string(why)}; }
Error unsupported(std::string_view why) { return {501, "NotImplemented", std::string(why)}; }

Error from_errno(std::string_view what, int errno_value) {
  char buffer[128];
  return {500, "SystemError", fmt::format("{}: {}", what, strerror_r(errno_value, buffer, sizeof buffer))};
}

}  // namespace dure
