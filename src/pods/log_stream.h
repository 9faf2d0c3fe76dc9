// LogStream: sends a container's log into an HTTP answer, following it while the container runs; a slow reader is
// waited for.
#pragma once

#include <functional>
#include <memory>

#include "pods/log_reader.h"
#include "run/loop.h"
#include "wire/http.h"

namespace dure::pods {

struct LogStreamOptions {
  bool follow = false;
  Duration interval = 200ms;
  size_t unsent_bytes_max = 256 << 10;
};

// `runs`: whether more can still come. Reading happens as jobs; the answer ends when the log is complete or the peer
// went away.
void stream_log(std::shared_ptr<wire::Exchange> exchange, LogReader reader, std::function<bool()> runs,
                run::Executor& executor, run::Executor& jobs, LogStreamOptions options);

}  // namespace dure::pods
