#include "sim/journal.h"

#include <fmt/format.h>

#include "base/text.h"

namespace dure::sim {
namespace {

constexpr size_t violations_max = 20, lines_max = 200'000;

}  // namespace

void Journal::note(std::string_view line) {
  const double seconds = std::chrono::duration<double>(since_start_()).count();
  std::string text = fmt::format("{:>10.3f}  {}", seconds, line);
  digest_ = digest_ * 1099511628211u ^ fnv1a_64(text);
  if (sink_) sink_(text);
  if (lines_.size() < lines_max) lines_.push_back(std::move(text));
}

void Journal::violation(std::string_view what) {
  note(fmt::format("VIOLATION {}", what));
  if (violations_.size() < violations_max) violations_.emplace_back(what);
}

}  // namespace dure::sim
