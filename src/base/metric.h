// Metric cells: counters and gauges that cost one relaxed atomic add, and their Prometheus text.
// Owner: a Metric is a member or a function-local static of the room that counts; it registers itself with the
// process's registry and leaves it when destroyed. Thread: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace dure {

class Metric {
 public:
  enum class Kind { counter, gauge };
  // `name` as Prometheus wants it; `labels` ready-made: code="200",verb="GET".
  Metric(Kind kind, std::string name, std::string labels = {}, std::string help = {});
  ~Metric();
  Metric(const Metric&) = delete;
  Metric& operator=(const Metric&) = delete;

  void add(int64_t delta = 1) { value_.fetch_add(delta, std::memory_order_relaxed); }
  void set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

  const Kind kind;
  const std::string name, labels, help;

 private:
  std::atomic<int64_t> value_{0};
};

// All live cells in the text exposition format, sorted by name.
std::string metrics_text();

}  // namespace dure
