#include "pods/log_stream.h"

#include <atomic>

namespace dure::pods {

namespace {

struct LogStream : std::enable_shared_from_this<LogStream> {
  LogStream(std::shared_ptr<wire::Exchange> exchange, LogReader reader, std::function<bool()> runs,
            run::Executor& executor, run::Executor& jobs, LogStreamOptions options)
      : exchange(std::move(exchange)),
        reader(std::move(reader)),
        runs(std::move(runs)),
        executor(executor),
        jobs(jobs),
        options(options) {}

  void begin() {
    exchange->on_close([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->gone = true;
    });
    wire::Headers headers;
    headers.set("content-type", "text/plain");
    exchange->start(200, std::move(headers));
    step();
  }

  void post() {
    jobs.post([self = shared_from_this()] { self->step(); });
  }

  void later() {
    timer = executor.after(options.interval, [self = shared_from_this()] { self->post(); });
  }

  // One job: reads a piece, sends it, decides how to go on.
  void step() {
    if (gone) return;
    if (exchange->unsent() > options.unsent_bytes_max) return later();
    const bool still_runs =
        !options.follow || runs();  // asked before reading: what was written before the end is read after it
    auto text = reader.next();
    if (!text) return exchange->abort();
    const bool empty = text->empty();
    if (!empty) exchange->write(SharedBytes(*std::move(text)));
    if (reader.complete()) return exchange->finish();
    if (!empty) return post();
    if (!options.follow || !still_runs) return exchange->finish();
    later();
  }

  std::shared_ptr<wire::Exchange> exchange;
  LogReader reader;
  std::function<bool()> runs;
  run::Executor& executor;
  run::Executor& jobs;
  const LogStreamOptions options;
  std::atomic<bool> gone{false};
  std::unique_ptr<run::Timer> timer;
};

}  // namespace

void stream_log(std::shared_ptr<wire::Exchange> exchange, LogReader reader, std::function<bool()> runs,
                run::Executor& executor, run::Executor& jobs, LogStreamOptions options) {
  std::make_shared<LogStream>(std::move(exchange), std::move(reader), std::move(runs), executor, jobs, options)
      ->begin();
}

}  // namespace dure::pods
