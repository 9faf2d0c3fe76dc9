#include "store/log_segments.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/log.h"

namespace dure::store {
namespace {

constexpr size_t zero_chunk = 256 << 10;
constexpr std::string_view half_made = "segment.tmp";

}  // namespace

std::string numbered_name(std::string_view prefix, uint64_t number) { return fmt::format("{}{:016x}", prefix, number); }

std::optional<uint64_t> numbered_file(std::string_view name, std::string_view prefix) {
  if (name.size() != prefix.size() + 16 || name.substr(0, prefix.size()) != prefix) return {};
  uint64_t number = 0;
  for (char c : name.substr(prefix.size())) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) return {};
    number = number << 4 | static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return number;
}

Error store_corrupt(const std::string& path, uint64_t offset, Revision last_good, std::string_view what) {
  Error error{500, "StoreCorrupt", fmt::format("{} is damaged at byte {}: {}", path, offset, what)};
  error.remedy = fmt::format(
      "Check the disk, then restore the folder from a backup. To go on with what is readable (everything after revision {} is lost): "
      "move the folder away, copy it back without the log-* files that come after {}, and cut that one with `truncate -s {}`.",
      last_good, path, offset);
  return error;
}

// ---- start

struct SegmentLog::Scan {
  uint64_t after = 0;                // the checkpoint's last frame
  std::optional<uint64_t> expected;  // the next frame's sequence
  FrameHeader last;                  // the last one handed over
  Revision last_revision = 0;
  uint64_t segment = 0, end = 0;     // where the last good frame ends
  bool any = false;
  std::set<uint64_t> numbers, needed;
  std::string bad_path;  // the first damaged place since the last good frame
  uint64_t bad_offset = 0;
};

Result<std::string> SegmentLog::read_whole(uint64_t number, os::File& file) const {
  DURE_TRY(const uint64_t size, file.size());
  std::string bytes(size, '\0');
  DURE_TRY(const size_t got, file.read_at(0, bytes));
  bytes.resize(got);
  return bytes;
}

Status SegmentLog::scan_segment(uint64_t number, Scan& scan, const Apply& apply) {
  DURE_TRY(const auto file, place_.disk.open(path(number), os::OpenMode::read));
  DURE_TRY(const std::string bytes, read_whole(number, *file));
  const uint32_t file_salt = salt(number);
  bool whole = true;  // no damaged frame so far in this file
  for (size_t at = 0; at < bytes.size();) {
    const auto frame = read_frame(std::string_view(bytes).substr(at), file_salt);
    if (!frame) {
      if (whole) scan.bad_path = path(number), scan.bad_offset = at;
      whole = false;
      at += block_bytes;
      continue;
    }
    const uint64_t sequence = frame->header.sequence;
    if (!scan.expected) scan.expected = std::min(sequence, scan.after + 1);
    if (!whole || sequence != *scan.expected) {
      const bool missing = scan.bad_path.empty();
      return fail(store_corrupt(missing ? path(number) : scan.bad_path, missing ? at : scan.bad_offset, scan.last_revision,
                                fmt::format("frame {} is unreadable, but frame {} after it is there", *scan.expected, sequence)));
    }
    if (sequence > scan.after) {
      if (auto applied = apply(*frame); !applied) {
        return fail(store_corrupt(path(number), at, scan.last_revision, applied.error().message));
      }
      scan.last = frame->header;
      scan.needed.insert(number);
    }
    scan.last_revision = frame->header.revision;
    scan.expected = sequence + 1;
    at += frame->bytes_on_disk;
    scan.segment = number;
    scan.end = at;
    scan.any = true;
    scan.bad_path.clear();
  }
  return {};
}

Result<SegmentLog::Replayed> SegmentLog::replay(uint64_t after, const Apply& apply) {
  DURE_TRY(const auto names, place_.disk.list(place_.folder));
  Scan scan{.after = after};
  for (const std::string& name : names) {
    if (auto number = numbered_file(name, "log-")) scan.numbers.insert(*number);
  }
  for (uint64_t number : scan.numbers) DURE_CHECK(scan_segment(number, scan, apply));
  if (scan.any && *scan.expected <= after) {
    return fail(store_corrupt(path(scan.segment), scan.end, scan.last_revision,
                              fmt::format("the log ends before frame {}, which the checkpoint knows", after)));
  }
  sequence_ = scan.any ? *scan.expected - 1 : after;
  DURE_CHECK(take_up(scan));
  return Replayed{scan.last, scan.end};
}

// Chooses the file to append to, and the one prepared behind it; removes what the checkpoint has made superfluous.
Status SegmentLog::take_up(const Scan& scan) {
  (void)place_.disk.remove(place_.path(half_made));
  if (scan.numbers.empty()) {
    number_ = 1;
    DURE_TRY(current_, new_file(1));
    capacity_ = place_.segment_bytes;
    return {};
  }
  number_ = scan.any ? scan.segment : *scan.numbers.begin();
  offset_ = scan.end;
  for (uint64_t number : scan.numbers) {
    if (number < number_ && scan.needed.contains(number)) {
      old_.insert(number);
    } else if (number < number_ || number > number_ + 1) {
      DURE_CHECK(place_.disk.remove(path(number)));
    }
  }
  DURE_TRY(current_, place_.disk.open(path(number_), os::OpenMode::write));
  DURE_TRY(const uint64_t size, current_->size());
  capacity_ = std::max<uint64_t>(size / block_bytes * block_bytes, place_.segment_bytes);
  if (size < capacity_) DURE_CHECK(extend(*current_, size));
  // What the last process wrote and did not live to sync is read from here on, so it must not vanish any more.
  DURE_CHECK(current_->sync());
  if (scan.numbers.contains(number_ + 1)) {
    DURE_TRY(next_, place_.disk.open(path(number_ + 1), os::OpenMode::write));
    DURE_TRY(const uint64_t next_size, next_->size());
    if (next_size < place_.segment_bytes) DURE_CHECK(extend(*next_, next_size));
    asked_ = true;
  }
  return {};
}

// ---- files

Status SegmentLog::extend(os::File& file, uint64_t from) const {
  const std::string zeros(zero_chunk, '\0');
  while (from < place_.segment_bytes) {
    const size_t count = std::min<uint64_t>(zero_chunk, place_.segment_bytes - from);
    DURE_CHECK(file.write_at(from, std::string_view(zeros).substr(0, count)));
    from += count;
  }
  return file.sync();
}

// Thread: with mutex_ held, or before the log is shared.
Result<std::unique_ptr<os::File>> SegmentLog::new_file(uint64_t number) {
  if (spare_) {
    DURE_CHECK(place_.disk.rename(path(*spare_), path(number)));
    old_.erase(*spare_);
    spare_.reset();
    DURE_CHECK(place_.disk.sync_directory(place_.folder));
    return place_.disk.open(path(number), os::OpenMode::write);
  }
  const std::string temporary = place_.path(half_made);
  DURE_TRY(auto file, place_.disk.open(temporary, os::OpenMode::create));
  DURE_CHECK(file->truncate(0));
  DURE_CHECK(extend(*file, 0));
  DURE_CHECK(place_.disk.rename(temporary, path(number)));
  DURE_CHECK(place_.disk.sync_directory(place_.folder));
  return file;
}

Status SegmentLog::make_room(size_t bytes_on_disk) {
  DURE_ASSERT(bytes_on_disk <= place_.segment_bytes);
  if (offset_ + bytes_on_disk <= capacity_) return {};
  DURE_CHECK(prepare_next());
  std::lock_guard lock(mutex_);
  old_.insert(number_);
  current_ = std::move(next_);
  ++number_;
  offset_ = 0;
  capacity_ = place_.segment_bytes;
  asked_ = false;
  return {};
}

Status SegmentLog::append(FrameBuilder& frame, FrameHeader header) {
  header.sequence = sequence_ + 1;
  const std::string_view bytes = frame.seal(header, salt(number_));
  DURE_CHECK(current_->write_at(offset_, bytes));
  DURE_CHECK(current_->sync());
  offset_ += bytes.size();
  ++sequence_;
  return {};
}

bool SegmentLog::ask_next() { return offset_ > capacity_ / 2 && !asked_.exchange(true); }

Status SegmentLog::prepare_next() {
  std::lock_guard lock(mutex_);
  if (next_) return {};
  auto file = new_file(number_ + 1);
  if (!file) {
    asked_ = false;
    return fail(std::move(file).error());
  }
  next_ = std::move(*file);
  return {};
}

void SegmentLog::drop_before(uint64_t number) {
  std::lock_guard lock(mutex_);
  for (auto at = old_.begin(); at != old_.end() && *at < number;) {
    if (spare_ == *at) {
      ++at;
    } else if (!spare_) {
      spare_ = *at++;
    } else if (auto removed = place_.disk.remove(path(*at)); removed) {
      at = old_.erase(at);
    } else {
      log(LogLevel::warn, "store", "a log file that is no longer needed cannot be removed", {{"error", removed.error().message}});
      ++at;
    }
  }
}

}  // namespace dure::store
