#include <errno.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "os/disk.h"
#include "os/disk_error.h"

namespace dure::os {
namespace {

constexpr size_t sector = 512;

// One change of a file that has not been synced.
struct Change {
  enum class Kind { write, resize } kind;
  uint64_t offset = 0;  // resize: the new size
  std::string bytes = {};

  void apply(std::string& content) const {
    if (kind == Kind::resize) {
      content.resize(size_t(offset));
      return;
    }
    if (content.size() < offset + bytes.size()) content.resize(size_t(offset) + bytes.size());
    std::memcpy(content.data() + offset, bytes.data(), bytes.size());
  }
};

struct Inode {
  std::string live, durable;
  std::vector<Change> unsynced;
};
using InodePointer = std::shared_ptr<Inode>;
using Names = std::map<std::string, InodePointer>;

// One change of a folder: `gone` loses its name, `path` gets `inode`.
struct NameChange {
  std::string gone, path;
  InodePointer inode;

  void apply(Names& names) const {
    if (!gone.empty()) names.erase(gone);
    if (inode) names[path] = inode;
  }
};

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}
std::string tidy(const std::string& path) {
  std::string out = path;
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

}  // namespace

struct MemoryDisk::State {
  mutable std::mutex mutex;
  Names live, durable;
  std::set<std::string> folders{".", "/"};
  std::map<std::string, std::shared_ptr<int>> locks;        // by path; a lock holds its token
  std::map<std::string, std::vector<NameChange>> unsynced;  // by folder
  Fault fault;
  uint64_t capacity = UINT64_MAX, epoch = 0, random = 1;
  Counters counters;

  uint64_t draw() {  // splitmix64
    uint64_t z = (random += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::optional<Error> ask(Operation operation, const std::string& path) const {
    return fault ? fault(operation, path) : std::nullopt;
  }
  uint64_t used() const {
    uint64_t total = 0;
    for (const auto& [path, inode] : live) total += inode->live.size();
    return total;
  }
  Status room_for(const Inode& inode, uint64_t size, std::string_view what) const {
    if (size <= inode.live.size()) return {};
    const uint64_t more = size - inode.live.size();
    if (capacity != UINT64_MAX && used() + more > capacity) return fail(disk_error(what, ENOSPC));
    return {};
  }
  void change(Inode& inode, Change change) {
    change.apply(inode.live);
    inode.unsynced.push_back(std::move(change));
  }
  // A write that power loss caught in flight: kept, lost or torn at sector borders.
  void settle(std::string& content, const Change& change) {
    const uint64_t fate = draw() % 4;
    if (fate == 0) return;
    if (change.kind == Change::Kind::resize || fate != 1) return change.apply(content);
    uint64_t offset = change.offset;
    std::string_view rest = change.bytes;
    while (!rest.empty()) {
      const size_t count = std::min<size_t>(rest.size(), sector - offset % sector);
      if (draw() % 2) Change{Change::Kind::write, offset, std::string(rest.substr(0, count))}.apply(content);
      rest.remove_prefix(count);
      offset += count;
    }
  }
  void crash(bool keep_some) {
    std::lock_guard lock(mutex);
    ++epoch;
    for (auto& [folder, changes] : unsynced) {
      const size_t kept = keep_some ? size_t(draw() % (changes.size() + 1)) : 0;
      for (size_t i = 0; i < kept; ++i) changes[i].apply(durable);
    }
    unsynced.clear();
    locks.clear();
    live = durable;
    for (auto& [path, inode] : live) {
      if (keep_some)
        for (const auto& change : inode->unsynced) settle(inode->durable, change);
      inode->unsynced.clear();
      inode->live = inode->durable;
    }
  }
};

namespace {

class MemoryFile final : public File {
 public:
  MemoryFile(std::shared_ptr<MemoryDisk::State> state, InodePointer inode, std::string path, bool writable)
      : state_(std::move(state)),
        inode_(std::move(inode)),
        path_(std::move(path)),
        epoch_(state_->epoch),
        writable_(writable) {}

  Result<size_t> read_at(uint64_t offset, std::span<char> buffer) const override {
    std::lock_guard lock(state_->mutex);
    DURE_CHECK(usable(MemoryDisk::Operation::read, "read "));
    ++state_->counters.reads;
    const std::string& content = inode_->live;
    if (offset >= content.size()) return size_t(0);
    const size_t count = std::min(buffer.size(), size_t(content.size() - offset));
    std::memcpy(buffer.data(), content.data() + offset, count);
    return count;
  }
  Status write_at(uint64_t offset, std::string_view bytes) override {
    return write_at(offset, std::span<const std::string_view>(&bytes, 1));
  }
  Status write_at(uint64_t offset, std::span<const std::string_view> parts) override {
    std::lock_guard lock(state_->mutex);
    std::string bytes;
    for (const auto part : parts) bytes += part;
    ++state_->counters.writes;
    Status may =
        writable_ ? usable(MemoryDisk::Operation::write, "write ") : Status(fail(disk_error("write " + path_, EBADF)));
    if (may) may = state_->room_for(*inode_, offset + bytes.size(), "write " + path_);
    if (!may) {
      // Some of it may have gone through before the error.
      bytes.resize(size_t(state_->draw() % (bytes.size() + 1)));
      if (epoch_ != state_->epoch || !writable_ || !state_->room_for(*inode_, offset + bytes.size(), "")) return may;
    }
    state_->counters.bytes_written += bytes.size();
    state_->change(*inode_, {Change::Kind::write, offset, std::move(bytes)});
    return may;
  }
  Status sync() override {
    std::lock_guard lock(state_->mutex);
    ++state_->counters.syncs;
    const Status may = usable(MemoryDisk::Operation::sync, "fdatasync ");
    if (epoch_ != state_->epoch) return may;
    if (may)
      for (const auto& change : inode_->unsynced) change.apply(inode_->durable);
    inode_->unsynced.clear();
    return may;
  }
  Status allocate(uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    DURE_CHECK(usable(MemoryDisk::Operation::allocate, "fallocate "));
    if (size <= inode_->live.size()) return {};
    DURE_CHECK(state_->room_for(*inode_, size, "fallocate " + path_));
    state_->change(*inode_, {Change::Kind::resize, size});
    return {};
  }
  Status truncate(uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    DURE_CHECK(usable(MemoryDisk::Operation::allocate, "truncate "));
    DURE_CHECK(state_->room_for(*inode_, size, "truncate " + path_));
    state_->change(*inode_, {Change::Kind::resize, size});
    return {};
  }
  Result<uint64_t> size() const override {
    std::lock_guard lock(state_->mutex);
    if (epoch_ != state_->epoch) return fail(disk_error("stat " + path_, EIO));
    return inode_->live.size();
  }

 private:
  Status usable(MemoryDisk::Operation operation, const char* what) const {
    if (epoch_ != state_->epoch) return fail(disk_error(what + path_, EIO));
    if (auto error = state_->ask(operation, path_)) return fail(std::move(*error));
    return {};
  }
  const std::shared_ptr<MemoryDisk::State> state_;
  const InodePointer inode_;
  const std::string path_;
  const uint64_t epoch_;
  const bool writable_;
};

}  // namespace

MemoryDisk::MemoryDisk(uint64_t seed) : state_(std::make_shared<State>()) { state_->random = seed; }
MemoryDisk::~MemoryDisk() = default;
void MemoryDisk::crash() { state_->crash(true); }
void MemoryDisk::crash_losing_everything() { state_->crash(false); }
void MemoryDisk::set_fault(Fault fault) {
  std::lock_guard lock(state_->mutex);
  state_->fault = std::move(fault);
}
void MemoryDisk::set_capacity(uint64_t bytes) {
  std::lock_guard lock(state_->mutex);
  state_->capacity = bytes;
}
MemoryDisk::Counters MemoryDisk::counters() const {
  std::lock_guard lock(state_->mutex);
  return state_->counters;
}
void MemoryDisk::corrupt(const std::string& path, uint64_t offset) {
  std::lock_guard lock(state_->mutex);
  const auto at = state_->live.find(tidy(path));
  if (at == state_->live.end()) return;
  const char bit = char(1 << (state_->draw() % 8));
  for (std::string* content : {&at->second->live, &at->second->durable})
    if (offset < content->size()) (*content)[offset] ^= bit;
}

Result<std::unique_ptr<File>> MemoryDisk::open(const std::string& raw_path, OpenMode mode, int) {
  const std::string path = tidy(raw_path);
  std::lock_guard lock(state_->mutex);
  if (auto error = state_->ask(Operation::open, path)) return fail(std::move(*error));
  const bool creates = mode == OpenMode::create || mode == OpenMode::create_new;
  const bool writable = mode != OpenMode::read;
  if (state_->folders.contains(path)) return fail(disk_error("open " + path, EISDIR));
  if (const auto at = state_->live.find(path); at != state_->live.end()) {
    if (mode == OpenMode::create_new) return fail(disk_error("open " + path, EEXIST));
    return std::make_unique<MemoryFile>(state_, at->second, path, writable);
  }
  const std::string folder = folder_of(path);
  if (!creates || !state_->folders.contains(folder)) return fail(disk_error("open " + path, ENOENT));
  auto inode = std::make_shared<Inode>();
  state_->live[path] = inode;
  state_->unsynced[folder].push_back({"", path, inode});
  return std::make_unique<MemoryFile>(state_, std::move(inode), path, writable);
}

namespace {

class MemoryLock final : public FileLock {
 public:
  MemoryLock(std::shared_ptr<MemoryDisk::State> state, std::string path, std::shared_ptr<int> token)
      : state_(std::move(state)), path_(std::move(path)), token_(std::move(token)) {}
  ~MemoryLock() override {
    std::lock_guard lock(state_->mutex);
    const auto at = state_->locks.find(path_);
    if (at != state_->locks.end() && at->second == token_) state_->locks.erase(at);
  }

 private:
  const std::shared_ptr<MemoryDisk::State> state_;
  const std::string path_;
  const std::shared_ptr<int> token_;
};

}  // namespace

Result<std::unique_ptr<FileLock>> MemoryDisk::lock(const std::string& raw_path) {
  const std::string path = tidy(raw_path);
  DURE_CHECK(open(path, OpenMode::create));
  std::lock_guard lock(state_->mutex);
  auto token = std::make_shared<int>(0);
  if (!state_->locks.emplace(path, token).second) {
    Error error = disk_error("lock " + path, EWOULDBLOCK);
    error.reason = "FileLocked";
    return fail(std::move(error));
  }
  return std::make_unique<MemoryLock>(state_, path, std::move(token));
}

Status MemoryDisk::rename(const std::string& raw_from, const std::string& raw_to) {
  const std::string from = tidy(raw_from), to = tidy(raw_to), what = "rename " + from + " to " + to;
  std::lock_guard lock(state_->mutex);
  if (auto error = state_->ask(Operation::rename, from)) return fail(std::move(*error));
  const auto at = state_->live.find(from);
  if (state_->folders.contains(from)) return fail(unsupported(what + ": folders are not renamed in memory"));
  if (at == state_->live.end() || !state_->folders.contains(folder_of(to))) return fail(disk_error(what, ENOENT));
  if (state_->folders.contains(to)) return fail(disk_error(what, EISDIR));
  if (from == to) return {};
  NameChange change{from, to, at->second};
  change.apply(state_->live);
  state_->unsynced[folder_of(to)].push_back(std::move(change));
  return {};
}

Status MemoryDisk::remove(const std::string& raw_path) {
  const std::string path = tidy(raw_path);
  std::lock_guard lock(state_->mutex);
  if (auto error = state_->ask(Operation::remove, path)) return fail(std::move(*error));
  if (state_->folders.contains(path)) {
    const auto inside = [&](const std::string& other) { return folder_of(other) == path && other != path; };
    for (const auto& [name, inode] : state_->live)
      if (inside(name)) return fail(disk_error("remove " + path, ENOTEMPTY));
    for (const auto& name : state_->folders)
      if (inside(name)) return fail(disk_error("remove " + path, ENOTEMPTY));
    state_->folders.erase(path);
    return {};
  }
  if (!state_->live.contains(path)) return fail(disk_error("remove " + path, ENOENT));
  NameChange change{path, "", nullptr};
  change.apply(state_->live);
  state_->unsynced[folder_of(path)].push_back(std::move(change));
  return {};
}

Status MemoryDisk::make_directories(const std::string& raw_path, int) {
  const std::string path = tidy(raw_path);
  std::lock_guard lock(state_->mutex);
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    if (state_->live.contains(part))
      return fail(disk_error("make folder " + part, at == std::string::npos ? EEXIST : ENOTDIR));
    state_->folders.insert(part);
    if (at == std::string::npos) return {};
  }
}

Status MemoryDisk::sync_directory(const std::string& raw_path) {
  const std::string path = tidy(raw_path);
  std::lock_guard lock(state_->mutex);
  if (auto error = state_->ask(Operation::sync_directory, path)) return fail(std::move(*error));
  if (!state_->folders.contains(path)) return fail(disk_error("open folder " + path, ENOENT));
  for (const auto& change : state_->unsynced[path]) change.apply(state_->durable);
  state_->unsynced.erase(path);
  return {};
}

Result<std::vector<std::string>> MemoryDisk::list(const std::string& raw_path) const {
  const std::string path = tidy(raw_path);
  std::lock_guard lock(state_->mutex);
  if (!state_->folders.contains(path)) return fail(disk_error("open folder " + path, ENOENT));
  std::vector<std::string> names;
  const auto add = [&](const std::string& other) {
    if (other != path && folder_of(other) == path && other != ".") names.push_back(other.substr(other.rfind('/') + 1));
  };
  for (const auto& [name, inode] : state_->live) add(name);
  for (const auto& name : state_->folders) add(name);
  std::sort(names.begin(), names.end());
  return names;
}

bool MemoryDisk::exists(const std::string& raw_path) const {
  const std::string path = tidy(raw_path);
  std::lock_guard lock(state_->mutex);
  return state_->folders.contains(path) || state_->live.contains(path);
}

Result<uint64_t> MemoryDisk::free_bytes(const std::string&) const {
  std::lock_guard lock(state_->mutex);
  if (state_->capacity == UINT64_MAX) return UINT64_MAX;
  return state_->capacity - std::min(state_->capacity, state_->used());
}

}  // namespace dure::os
