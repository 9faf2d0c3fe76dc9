#include "lab/skew.h"

#include <unistd.h>

#include <fmt/format.h>

#include "base/text.h"

namespace dure::lab {
namespace {

std::string_view library() {
  for (const char* path : {"/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
                           "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"})
    if (access(path, R_OK) == 0) return path;
  return {};
}

}  // namespace

Result<Duration> skew_time(std::string_view by) {
  if (by == "0") return Duration::zero();
  const auto time = by.starts_with('+') || by.starts_with('-') ? parse_duration(by.substr(1)) : std::nullopt;
  if (!time) return fail(bad_request(fmt::format("\"{}\" is not a skew; write it like +2h, -90s or 0", by)));
  return by[0] == '-' ? -*time : *time;
}

Result<std::vector<std::pair<std::string, std::string>>> skewed_environment(std::string_view by) {
  std::vector<std::pair<std::string, std::string>> out;
  DURE_TRY(const Duration time, skew_time(by));
  if (time == Duration::zero()) return out;
  if (library().empty())
    return fail(Error{501, "NoFaketime", "clocks are skewed with libfaketime, which is not installed",
                      "apt-get install libfaketime"});
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
  out = {{"LD_PRELOAD", std::string(library())},
         {"FAKETIME", fmt::format("{:+}", seconds)},
         {"FAKETIME_DONT_FAKE_MONOTONIC", "1"}};
  return out;
}

}  // namespace dure::lab
