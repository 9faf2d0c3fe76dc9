#include "pods/log_reader.h"

#include <algorithm>

#include "base/text.h"

namespace dure::pods {

namespace {

constexpr size_t block_bytes = 64 << 10;
constexpr size_t line_bytes_max = 1 << 20;  // a longer "line" is not one the runtime wrote

// Offset of the line that starts the last `lines` lines; `lines` is reduced by those found.
Result<uint64_t> tail_offset(const os::File& file, int64_t& lines) {
  DURE_TRY(uint64_t size, file.size());
  uint64_t end = size;
  bool skip_last = true;  // the line end of the last line ends it and starts nothing
  std::string block(block_bytes, '\0');
  while (end > 0) {
    const size_t length = static_cast<size_t>(std::min<uint64_t>(end, block_bytes));
    DURE_TRY(size_t got, file.read_at(end - length, std::span(block.data(), length)));
    for (size_t i = got; i > 0; --i) {
      if (block[i - 1] != '\n') {
        skip_last = false;
        continue;
      }
      if (skip_last) {
        skip_last = false;
        continue;
      }
      if (--lines == 0) return end - length + i;
    }
    end -= length;
  }
  if (size > 0) --lines;
  lines = std::max<int64_t>(lines, 0);
  return uint64_t{0};
}

}  // namespace

std::optional<LogLine> parse_log_line(std::string_view line) {
  const size_t first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  const size_t second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const size_t third = line.find(' ', second + 1);
  LogLine out;
  out.time = line.substr(0, first);
  out.stream = line.substr(first + 1, second - first - 1);
  if (out.stream != "stdout" && out.stream != "stderr") return std::nullopt;
  std::string_view tags = line.substr(second + 1, third == std::string_view::npos ? third : third - second - 1);
  tags = tags.substr(0, tags.find(':'));
  if (tags != "F" && tags != "P") return std::nullopt;
  out.partial = tags == "P";
  if (third != std::string_view::npos) out.text = line.substr(third + 1);
  if (out.time.size() < 20 || out.time[4] != '-' || out.time[10] != 'T') return std::nullopt;
  return out;
}

std::vector<std::string> rotated_logs(os::Disk& disk, const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = path.substr(0, slash), name = path.substr(slash + 1) + ".";
  std::vector<std::string> out;
  for (const std::string& entry : disk.list(folder).value_or(std::vector<std::string>{}))
    if (entry.starts_with(name) && !entry.ends_with(".gz") && !entry.ends_with(".tmp"))
      out.push_back(folder + "/" + entry);
  std::sort(out.begin(), out.end());
  return out;
}

LogReader::LogReader(os::Disk& disk, std::string path, LogOptions options)
    : disk_(disk), path_(std::move(path)), options_(std::move(options)) {}

Status LogReader::begin() {
  begun_ = true;
  for (const std::string& path : rotated_logs(disk_, path_)) parts_.push_back({path});
  newest_rotated_ = parts_.empty() ? std::string() : parts_.back().path;
  parts_.push_back({path_});
  if (options_.limit_bytes && *options_.limit_bytes <= 0) complete_ = true;
  if (!options_.tail_lines) return {};
  int64_t left = *options_.tail_lines;
  for (size_t i = parts_.size(); i-- > 0;) {
    auto file = disk_.open(parts_[i].path, os::OpenMode::read);
    if (!file) continue;
    if (left <= 0) {
      DURE_TRY(parts_[i].start, (*file)->size());
      if (i + 1 < parts_.size()) {
        parts_.erase(parts_.begin(), parts_.begin() + static_cast<ptrdiff_t>(i) + 1);
        break;
      }
      continue;
    }
    DURE_TRY(parts_[i].start, tail_offset(**file, left));
  }
  return {};
}

// Opens what comes next; false when there is nothing (yet).
bool LogReader::open_next() {
  if (parts_.empty()) return false;
  auto file = disk_.open(parts_.front().path, os::OpenMode::read);
  on_present_ = parts_.front().path == path_;
  offset_ = parts_.front().start;
  if (!file) {
    if (!on_present_) parts_.erase(parts_.begin());  // rotated away meanwhile
    return !on_present_ && open_next();
  }
  file_ = std::move(*file);
  parts_.erase(parts_.begin());
  return true;
}

// Reads on; false at the end of everything there is now.
Result<bool> LogReader::fill() {
  if (!file_ && !open_next()) return false;
  const size_t before = buffer_.size();
  buffer_.resize(before + block_bytes);
  auto got = file_->read_at(offset_, std::span(buffer_.data() + before, block_bytes));
  buffer_.resize(before + (got ? *got : 0));
  if (!got) return fail(std::move(got).error());
  offset_ += *got;
  if (*got > 0) return true;
  if (!on_present_) {
    file_.reset();
    return fill();
  }
  // At the end of what was the present file: was it moved aside meanwhile?
  const std::vector<std::string> rotated = rotated_logs(disk_, path_);
  const std::string newest = rotated.empty() ? std::string() : rotated.back();
  auto size = file_->size();
  const bool moved = newest != newest_rotated_ && disk_.exists(path_);
  if (moved || (size && *size < offset_)) {
    newest_rotated_ = newest;
    parts_.push_back({path_});
    file_.reset();
    return fill();
  }
  return false;
}

void LogReader::put(std::string& out, const LogLine& line) {
  if (!options_.stream.empty() && options_.stream != "All" && !equal_ignore_case(options_.stream, line.stream)) return;
  if (options_.since) {
    const auto time = parse_time(line.time);
    if (time && *time < *options_.since) return;
  }
  if (options_.timestamps && line_start_) out.append(line.time).append(" ");
  out.append(line.text);
  if (!line.partial) out += '\n';
  line_start_ = !line.partial;
}

std::string LogReader::take_lines() {
  std::string out;
  size_t at = 0;
  for (size_t end; (end = buffer_.find('\n', at)) != std::string::npos; at = end + 1)
    if (auto line = parse_log_line(std::string_view(buffer_).substr(at, end - at))) put(out, *line);
  buffer_.erase(0, at);
  if (buffer_.size() > line_bytes_max) buffer_.clear();
  return out;
}

Result<std::string> LogReader::next(size_t bytes_max) {
  if (!begun_) DURE_CHECK(begin());
  std::string out;
  while (!complete_ && out.size() < bytes_max) {
    DURE_TRY(bool more, fill());
    if (!more) break;
    out += take_lines();
  }
  if (options_.limit_bytes && written_ + static_cast<int64_t>(out.size()) >= *options_.limit_bytes) {
    out.resize(static_cast<size_t>(*options_.limit_bytes - written_));
    complete_ = true;
  }
  written_ += static_cast<int64_t>(out.size());
  return out;
}

}  // namespace dure::pods
