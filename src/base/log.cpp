#include "base/log.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <fmt/format.h>

#include "base/result.h"
#include "base/time.h"

namespace dure {
namespace {

std::atomic<int> level_limit{static_cast<int>(LogLevel::info)};
std::mutex sink_mutex;
std::function<void(LogLevel, std::string_view)>& sink() {
  static std::function<void(LogLevel, std::string_view)> value;
  return value;
}

// What a terminal would act on: texts come from anybody.
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else if (is_control(c))
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + "\"";
}

void write_to_stderr(std::string_view line) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const WallTime time{std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()};
  const std::string text = fmt::format("{} {}\n", format_micro_time(time), line);
  fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace

bool log_enabled(LogLevel level) { return static_cast<int>(level) >= level_limit.load(std::memory_order_relaxed); }

void set_log_level(LogLevel level) { level_limit = static_cast<int>(level); }

void set_log_sink(std::function<void(LogLevel, std::string_view)> replacement) {
  const std::lock_guard lock(sink_mutex);
  sink() = std::move(replacement);
}

void log(LogLevel level, std::string_view room, std::string_view message, std::initializer_list<LogField> fields) {
  if (!log_enabled(level)) return;
  static constexpr const char* kNames[] = {"debug", "info", "warn", "error"};
  std::string line = fmt::format("{:<5} {:<10} {}", kNames[static_cast<int>(level)], room, message);
  for (const LogField& field : fields) {
    const bool quote = field.value.find_first_of(" \"=") != std::string::npos || field.value.empty() ||
                       std::any_of(field.value.begin(), field.value.end(), is_control);
    line += quote ? " " + std::string(field.key) + "=" + quoted(field.value)
                  : fmt::format(" {}={}", field.key, field.value);
  }
  const std::lock_guard lock(sink_mutex);
  if (sink())
    sink()(level, line);
  else
    write_to_stderr(line);
}

void assertion_failed(const char* condition, const char* file, int line) {
  fmt::print(stderr, "{}:{}: invariant broken: {}\n", file, line, condition);
  std::abort();
}

}  // namespace dure
