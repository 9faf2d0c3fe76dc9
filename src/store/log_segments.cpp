#include "store/log_segments.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

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
      "Check the disk, then restore the folder from a backup. To go on with what is readable "
      "(everything after revision {} is lost): "
      "move the folder away, copy it back without the log-* files that come after {}, and cut that "
      "one with `truncate -s {}`.",
      last_good, path, offset);
  return error;
}

// ---- start

struct SegmentLog::Scan {
  uint64_t after = 0;                // the checkpoint's last frame
  std::optional<uint64_t> expected;  // the next frame's sequence
  FrameHeader last;                  // the last one handed over
  Revision last_revision = 0;
  uint64_t segment = 0, last_at = 0, end = 0;  // where the last good frame is
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
    const bool obsolete =
        sequence > *scan.expected && sequence <= scan.after + 1;  // what is missing is in the checkpoint
    if (!obsolete && (!whole || sequence != *scan.expected)) {
      const bool missing = scan.bad_path.empty();
      return fail(store_corrupt(
          missing ? path(number) : scan.bad_path, missing ? at : scan.bad_offset, scan.last_revision,
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
    scan.segment = number;
    scan.last_at = at;
    at += frame->bytes_on_disk;
    scan.end = at;
    whole = true;
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
  sequence_ = std::max(scan.any ? *scan.expected - 1 : 0, after);
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
  DURE_CHECK(write_again(scan.last_at, scan.end - scan.last_at));
  if (scan.numbers.contains(number_ + 1)) {
    DURE_TRY(next_, place_.disk.open(path(number_ + 1), os::OpenMode::write));
    DURE_TRY(const uint64_t next_size, next_->size());
    if (next_size < place_.segment_bytes) DURE_CHECK(extend(*next_, next_size));
    asked_ = true;
  }
  return {};
}

// The last frame may never have been synced, or its sync may have failed: then it is in the page cache, which takes
// it for clean, and not on the disk. It is read from here on, so it must not vanish any more.
Status SegmentLog::write_again(uint64_t at, size_t size) {
  std::string bytes(size, '\0');
  DURE_TRY(const size_t got, current_->read_at(at, bytes));
  DURE_CHECK(current_->write_at(at, std::string_view(bytes).substr(0, got)));
  return current_->sync();
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
  if (!spare_.empty()) {
    const uint64_t spare = *spare_.begin();
    DURE_CHECK(place_.disk.rename(path(spare), path(number)));
    old_.erase(spare);
    spare_.erase(spare);
    DURE_CHECK(place_.disk.sync_directory(place_.folder));
    return place_.disk.open(path(number), os::OpenMode::write);
  }
  const std::string temporary = place_.path(half_made);
  (void)place_.disk.remove(temporary);  // of an attempt that failed
  DURE_TRY(auto file, place_.disk.open(temporary, os::OpenMode::create_new));
  if (auto filled = extend(*file, 0); !filled) {
    (void)place_.disk.remove(temporary);
    return fail(std::move(filled).error());
  }
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
  DURE_CHECK(current_->write_through(offset_, bytes));
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
  // All are kept: the log needed them between two checkpoints and will again.
  std::lock_guard lock(mutex_);
  spare_.insert(old_.begin(), old_.lower_bound(number));
}

}  // namespace dure::store
