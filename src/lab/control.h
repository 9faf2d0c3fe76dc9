// Control: how the verbs of `dure lab` reach a running lab: a UNIX socket in its folder, one request a connection. A
// request is words separated by tabs and ended by a line feed; the answer is "ok\nSENTENCE" or
// "error\nREASON\nSENTENCE\nREMEDY". Bounded: 4 KiB a request, two seconds to send it; the next one waits.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace dure::lab {

// For the supervisor: the listening descriptor.
Result<int> listen_control(const std::string& folder);
// Accepts one request, has it answered, and closes.
using Answer = std::function<Result<std::string>(const std::vector<std::string>& words)>;
void serve_control(int listener, const Answer& answer);

// For the verbs: sends and waits for the answer, which may take as long as the change does.
Result<std::string> ask_control(const std::string& folder, const std::vector<std::string>& words);

}  // namespace dure::lab
