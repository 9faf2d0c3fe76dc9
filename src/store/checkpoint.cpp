#include "store/checkpoint.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/log.h"

namespace dure::store {
namespace {

constexpr size_t frame_payload = 256 << 10;
constexpr uint64_t sync_every = 4 << 20;  // so that a commit's sync never waits for much more than this
constexpr std::string_view prefix = "checkpoint-", half_made = "checkpoint.tmp";

class Writer {
 public:
  Writer(const LogPlace& place, CheckpointState state, os::File& file)
      : state_(state), file_(file), salt_(frame_salt(place.identity, "checkpoint", state.sequence)) {}

  Status add(const Record& record) {
    frame_.add(record);
    return frame_.payload_bytes() < frame_payload ? Status() : write(FrameKind::entries);
  }
  Result<uint64_t> finish() {
    if (frame_.records() > 0) DURE_CHECK(write(FrameKind::entries));
    DURE_CHECK(write(FrameKind::end));
    DURE_CHECK(file_.sync());
    return offset_;
  }

 private:
  Status write(FrameKind kind) {
    FrameHeader header{.sequence = ++count_, .revision = state_.revision, .reserved = state_.reserved, .kind = kind};
    const std::string_view bytes = frame_.seal(header, salt_);
    DURE_CHECK(file_.write_at(offset_, bytes));
    offset_ += bytes.size();
    frame_.clear();
    if (offset_ - synced_ < sync_every) return {};
    synced_ = offset_;
    return file_.sync();
  }

  const CheckpointState state_;
  os::File& file_;
  const uint32_t salt_;
  FrameBuilder frame_;
  uint64_t count_ = 0, offset_ = 0, synced_ = 0;
};

Result<uint64_t> write_entries(Writer& writer, const Index& index, const std::atomic<bool>& stop) {
  Status written;
  index.visit("", "", [&](const RecordRef& record) {
    written = stop ? Status(fail({503, "Cancelled", "the store is closing"})) : writer.add(*record);
    return written.has_value();
  });
  DURE_CHECK(written);
  return writer.finish();
}

class Reader {
 public:
  Reader(const LogPlace& place, uint64_t sequence, os::File& file)
      : path_(place.path(numbered_name(prefix, sequence))),
        file_(file),
        salt_(frame_salt(place.identity, "checkpoint", sequence)) {
    loaded_.state.sequence = sequence;
  }

  Result<LoadedCheckpoint> read() {
    for (;;) {
      DURE_TRY(const Frame frame, next());
      loaded_.state.revision = frame.header.revision;
      loaded_.state.reserved = frame.header.reserved;
      if (frame.header.kind == FrameKind::end) {
        loaded_.bytes = offset_;
        return std::move(loaded_);
      }
      RecordReader records(frame);
      while (RecordRef record = records.next()) loaded_.index.put(std::move(record));
      if (!records.complete()) return fail(damaged("a record is malformed"));
    }
  }

 private:
  Error damaged(std::string_view what) {
    Error error = store_corrupt(path_, offset_, 0, what);
    error.remedy =
        "Check the disk, then restore the folder from a backup: the log before the checkpoint is "
        "gone.";
    return error;
  }

  Status fill(size_t bytes) {
    buffer_.resize(bytes);
    DURE_TRY(const size_t got, file_.read_at(offset_, buffer_));
    if (got < bytes) return fail(damaged("the file is too short"));
    return {};
  }

  Result<Frame> next() {
    DURE_CHECK(fill(block_bytes));
    uint32_t payload_bytes;
    std::memcpy(&payload_bytes, buffer_.data() + 4, sizeof payload_bytes);
    DURE_TRY(const uint64_t size, file_.size());
    const uint64_t bytes = frame_header_bytes + payload_bytes;
    if (bytes > size - offset_) return fail(damaged("a frame is longer than the file"));
    if (bytes > block_bytes) DURE_CHECK(fill(bytes));
    const auto frame = read_frame(buffer_, salt_);
    if (!frame || frame->header.sequence != ++count_) return fail(damaged("a checksum does not match"));
    offset_ += frame->bytes_on_disk;
    return *frame;
  }

  const std::string path_;
  os::File& file_;
  const uint32_t salt_;
  std::string buffer_;
  uint64_t offset_ = 0, count_ = 0;
  LoadedCheckpoint loaded_;
};

}  // namespace

Result<uint64_t> write_checkpoint(const LogPlace& place, CheckpointState state, const Index& index,
                                  const std::atomic<bool>& stop) {
  const std::string temporary = place.path(half_made);
  (void)place.disk.remove(temporary);  // of an attempt that failed
  DURE_TRY(auto file, place.disk.open(temporary, os::OpenMode::create_new));
  Writer writer(place, state, *file);
  const auto bytes = write_entries(writer, index, stop);
  file.reset();
  if (!bytes) {
    (void)place.disk.remove(temporary);
    return bytes;
  }
  DURE_CHECK(place.disk.rename(temporary, place.path(numbered_name(prefix, state.sequence))));
  DURE_CHECK(place.disk.sync_directory(place.folder));
  return bytes;
}

Result<LoadedCheckpoint> load_checkpoint(const LogPlace& place) {
  (void)place.disk.remove(place.path(half_made));
  DURE_TRY(const auto names, place.disk.list(place.folder));
  uint64_t newest = 0;
  for (const std::string& name : names) newest = std::max(newest, numbered_file(name, prefix).value_or(0));
  if (newest == 0) return LoadedCheckpoint{};
  DURE_TRY(auto file, place.disk.open(place.path(numbered_name(prefix, newest)), os::OpenMode::read));
  auto loaded = Reader(place, newest, *file).read();
  if (loaded) drop_checkpoints_before(place, newest);
  return loaded;
}

void drop_checkpoints_before(const LogPlace& place, uint64_t sequence) {
  const auto names = place.disk.list(place.folder);
  if (!names) return;
  for (const std::string& name : *names) {
    const auto number = numbered_file(name, prefix);
    if (!number || *number >= sequence) continue;
    if (auto removed = place.disk.remove(place.path(name)); !removed) {
      log(LogLevel::warn, "store", "an old checkpoint cannot be removed", {{"error", removed.error().message}});
    }
  }
}

}  // namespace dure::store
