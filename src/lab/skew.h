// Skew: a wrong wall clock for dure's processes on one node, by libfaketime (Debian package libfaketime). Programs that
// ask the kernel themselves (containerd, and all of Go) and what runs in pods keep the machine's time; so does the
// monotonic clock everywhere.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dure::lab {

// `by`: "+2h", "-90s"; "0": none. "BadRequest".
Result<Duration> skew_time(std::string_view by);

// `by`: "+2h", "-90s"; "0": none. What a process must find in its environment. "BadRequest", "NoFaketime".
Result<std::vector<std::pair<std::string, std::string>>> skewed_environment(std::string_view by);

}  // namespace dure::lab
