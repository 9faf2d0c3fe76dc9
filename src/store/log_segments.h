// SegmentLog: the write-ahead log as a row of files `log-<number>` of fixed size, filled with zeros before they are
// used, so that an append changes no file size and its sync writes no file system journal. Files that a checkpoint
// has made superfluous are used again.
//
// What is found at a start: frames without a gap since the checkpoint. The first damaged frame is the end when
// nothing valid follows: that is a write which power loss tore and nobody was told of. Anything valid behind it
// proves that it had been synced: then the medium has lost acknowledged writes, and the answer is the error
// "StoreCorrupt".
//
// Thread: replay, make_room and append on one thread; prepare_next and drop_before on any.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "os/disk.h"
#include "store/log_frame.h"

namespace dure::store {

struct LogPlace {
  os::Disk& disk;
  std::string folder;
  uint64_t identity = 0;
  size_t segment_bytes = 0;  // a multiple of block_bytes
  std::string path(std::string_view name) const { return folder + "/" + std::string(name); }
};

// The number in "<prefix><16 hex digits>"; nothing for other names.
std::optional<uint64_t> numbered_file(std::string_view name, std::string_view prefix);
std::string numbered_name(std::string_view prefix, uint64_t number);

class SegmentLog {
 public:
  explicit SegmentLog(LogPlace place) : place_(std::move(place)) {}

  struct Replayed {
    FrameHeader last;            // sequence 0: nothing after the checkpoint
    uint64_t torn_at_bytes = 0;  // how much of the last file was looked at
  };
  using Apply = std::function<Status(const Frame&)>;
  // Hands over the frames with sequence > `after`, in order; afterwards the log is ready for appending.
  Result<Replayed> replay(uint64_t after, const Apply& apply);

  // Makes sure that `append` of so many bytes stays within one file. "DiskFull" changes nothing: try again later.
  // After any other error the log must not be used any more.
  Status make_room(size_t bytes_on_disk);
  // Writes and syncs. After an error the log must not be used any more.
  Status append(FrameBuilder& frame, FrameHeader header);
  uint64_t sequence() const { return sequence_; }
  uint64_t segment() const { return number_; }

  // True when somebody should call prepare_next soon; then false until the next time.
  bool ask_next();
  Status prepare_next();
  // Frames in files before `number` are no longer needed.
  void drop_before(uint64_t number);

 private:
  struct Scan;
  Result<std::string> read_whole(uint64_t number, os::File& file) const;
  Status scan_segment(uint64_t number, Scan& scan, const Apply& apply);
  Status take_up(const Scan& scan);
  Status write_again(uint64_t at, size_t size);
  Result<std::unique_ptr<os::File>> new_file(uint64_t number);
  Status extend(os::File& file, uint64_t from) const;
  uint32_t salt(uint64_t number) const { return frame_salt(place_.identity, "log", number); }
  std::string path(uint64_t number) const { return place_.path(numbered_name("log-", number)); }

  const LogPlace place_;
  std::unique_ptr<os::File> current_;
  uint64_t offset_ = 0, capacity_ = 0;
  uint64_t sequence_ = 0;
  std::atomic<uint64_t> number_ = 0;  // changed with mutex_ held
  std::atomic<bool> asked_ = false;

  std::mutex mutex_;  // held while the next file is made: an append that needs it waits
  std::unique_ptr<os::File> next_;
  std::set<uint64_t> old_;    // files before the current one
  std::set<uint64_t> spare_;  // those of them that are free to be used again
};

// The error for a damaged file, with what a person can do about it.
Error store_corrupt(const std::string& path, uint64_t offset, Revision last_good, std::string_view what);

}  // namespace dure::store
