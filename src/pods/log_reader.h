// LogReader: container logs as the runtime writes them (CRI format), turned back into what the container wrote.
//
// A line is "<RFC 3339 nano> <stdout|stderr> <F|P> <text>"; P marks a piece of a line whose rest follows. Files that
// rotation moved aside ("0.log.20060102-150405") are read before the present one. A malformed line is skipped. Thread:
// one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/disk.h"

namespace dure::pods {

struct LogLine {
  std::string_view time;    // as written
  std::string_view stream;  // "stdout" or "stderr"
  bool partial = false;     // the line goes on
  std::string_view text;    // without the line end
};
// `line` without its line end.
std::optional<LogLine> parse_log_line(std::string_view line);

struct LogOptions {
  std::optional<int64_t> tail_lines;
  std::optional<WallTime> since;
  bool timestamps = false;
  std::optional<int64_t> limit_bytes;
  std::string stream;  // "", "All", "Stdout", "Stderr"
};

class LogReader {
 public:
  LogReader(os::Disk& disk, std::string path, LogOptions options);
  // The next text, at most about `bytes_max`; empty: nothing more for now (ask again to follow).
  Result<std::string> next(size_t bytes_max = 64 << 10);
  // The limit is reached: nothing will ever follow.
  bool complete() const { return complete_; }

 private:
  struct Part {
    std::string path;
    uint64_t start = 0;
  };
  Status begin();
  bool open_next();
  Result<bool> fill();
  std::string take_lines();
  void put(std::string& out, const LogLine& line);

  os::Disk& disk_;
  const std::string path_;
  const LogOptions options_;
  bool begun_ = false, complete_ = false;
  std::vector<Part> parts_;  // still to read, oldest first
  std::unique_ptr<os::File> file_;
  bool on_present_ = false;  // `file_` is (or was, before a rotation) the file at path_
  std::string newest_rotated_;
  uint64_t offset_ = 0;
  std::string buffer_;  // an unfinished line
  bool line_start_ = true;
  int64_t written_ = 0;
};

// Files that rotation moved aside, oldest first.
std::vector<std::string> rotated_logs(os::Disk& disk, const std::string& path);

}  // namespace dure::pods
