// Disk: files as the rooms above see them, with a real and an in-memory implementation.
//
// What survives a power loss is part of the contract and is the same for both: bytes written survive after
// File::sync; a name that was created, renamed or removed survives after Disk::sync_directory of its folder.
// MemoryDisk forgets everything else in `crash`, tears what was in flight, and fails on demand. Conformance suite:
// os/disk_test.cpp.
//
// Thread: a Disk any; one File is used by one thread at a time, but read_at may run beside writes of other ranges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure::os {

class File {  // closed when destroyed; closing does not sync
 public:
  virtual ~File() = default;
  // Reads up to buffer.size() bytes; fewer only at the end of the file.
  virtual Result<size_t> read_at(uint64_t offset, std::span<char> buffer) const = 0;
  // Writes all bytes or answers an error; after an error any prefix may have been written.
  virtual Status write_at(uint64_t offset, std::string_view bytes) = 0;
  // One gathered write, so that a batch costs one system call.
  virtual Status write_at(uint64_t offset, std::span<const std::string_view> parts) = 0;
  // write_at and sync in one step. Up to 64 KB go past the page cache where offset and size are multiples of 4096 and
  // the file system allows it: a fifth less time for a small append, and no memory for what is read after a restart.
  virtual Status write_through(uint64_t offset, std::string_view bytes);
  // fdatasync. After an error the state of the file's un-synced bytes is unknown: never retry, start over.
  virtual Status sync() = 0;
  // Reserves blocks and makes the file at least `size` bytes long; new bytes read as zero. A later write inside then
  // changes no file size, which makes `sync` about half as dear.
  virtual Status allocate(uint64_t size) = 0;
  virtual Status truncate(uint64_t size) = 0;
  virtual Result<uint64_t> size() const = 0;
};

enum class OpenMode {
  read,        // must exist
  write,       // read and write; must exist
  create,      // read and write; made when missing
  create_new,  // read and write; must not exist
};

class FileLock {  // let go when destroyed, and when the process ends
 public:
  virtual ~FileLock() = default;
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, int permissions = 0600) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  virtual Status remove(const std::string& path) = 0;                         // a file or an empty folder
  // With parents; existing ones are fine. Survives power loss when it returns.
  virtual Status make_directories(const std::string& path, int permissions = 0700) = 0;
  virtual Status sync_directory(const std::string& path) = 0;
  // Names, sorted, without . and ..
  virtual Result<std::vector<std::string>> list(const std::string& path) const = 0;
  virtual bool exists(const std::string& path) const = 0;
  virtual Result<uint64_t> free_bytes(const std::string& path) const = 0;
  // Makes the file when it is missing and holds it alone, against other processes and other calls of this one;
  // "FileLocked" when somebody else does. Does not wait. (flock)
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;
};

std::unique_ptr<Disk> make_disk();  // the machine's

// Errors carry the errno's sentence; reason is "FileNotFound" (ENOENT), "FileExists", "DiskFull" (ENOSPC, EDQUOT),
// "DiskError" (EIO), "FileLocked" or "SystemError".

class MemoryDisk : public Disk {
 public:
  explicit MemoryDisk(uint64_t seed = 1);
  ~MemoryDisk() override;

  // Power loss: un-synced writes are kept, lost or torn at 512-byte sectors, each on its own, drawn from the seed;
  // un-synced names keep a random prefix of what was done to each folder. Open Files of before answer errors.
  void crash();
  // Like crash but nothing un-synced survives.
  void crash_losing_everything();

  enum class Operation { read, write, sync, allocate, rename, remove, open, sync_directory };
  // Asked before each operation; a returned error is answered. A failing write has written a random prefix; a failing
  // sync leaves its writes un-synced for ever (a later sync does not save them), as Linux does.
  using Fault = std::function<std::optional<Error>(Operation, const std::string& path)>;
  void set_fault(Fault fault);
  void set_capacity(uint64_t bytes);  // more: "DiskFull"

  struct Counters {
    uint64_t reads = 0, writes = 0, syncs = 0, bytes_written = 0;
  };
  Counters counters() const;
  // Flips one bit of the stored bytes, as rotting media do.
  void corrupt(const std::string& path, uint64_t offset);

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, int permissions = 0600) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status make_directories(const std::string& path, int permissions = 0700) override;
  Status sync_directory(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) const override;
  bool exists(const std::string& path) const override;
  Result<uint64_t> free_bytes(const std::string& path) const override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;  // `crash` lets go

  struct State;

 private:
  std::shared_ptr<State> state_;
};

// Small files in one step. Reading more than `bytes_max` is an error ("FileTooLarge").
Result<std::string> read_file(Disk& disk, const std::string& path, size_t bytes_max = 64 << 20);
// Writes beside, syncs, renames over, syncs the folder: the old or the new text survives, never a mixture.
Status write_file_atomic(Disk& disk, const std::string& path, std::string_view bytes, int permissions = 0600);

}  // namespace dure::os
