// Log: one line per event on stderr: time, level, room, message, key=value pairs.
// Thread: any. Cost when the level is off: one relaxed load.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

namespace dure {

enum class LogLevel { debug, info, warn, error };

struct LogField {
  std::string_view key;
  std::string value;
};

void log(LogLevel level, std::string_view room, std::string_view message, std::initializer_list<LogField> fields = {});
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
// The sink gets whole lines without the line end and without a time; tests and the simulator replace it. Default:
// stderr with a time stamp.
void set_log_sink(std::function<void(LogLevel, std::string_view line)> sink);

}  // namespace dure
