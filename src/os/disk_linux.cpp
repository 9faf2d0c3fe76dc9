#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "os/disk.h"
#include "os/disk_error.h"

namespace dure::os {
namespace {

class LinuxFile final : public File {
 public:
  LinuxFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~LinuxFile() override {
    close_direct();
    ::close(fd_);
  }

  Result<size_t> read_at(uint64_t offset, std::span<char> buffer) const override {
    size_t done = 0;
    while (done < buffer.size()) {
      const ssize_t got = pread(fd_, buffer.data() + done, buffer.size() - done, off_t(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(disk_error("read " + path_, errno));
      if (got == 0) break;
      done += size_t(got);
    }
    return done;
  }
  Status write_at(uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t put = pwrite(fd_, bytes.data(), bytes.size(), off_t(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return fail(disk_error("write " + path_, errno));
      bytes.remove_prefix(size_t(put));
      offset += uint64_t(put);
    }
    return {};
  }
  Status write_at(uint64_t offset, std::span<const std::string_view> parts) override {
    constexpr size_t parts_per_call = 512;  // below IOV_MAX
    while (!parts.empty()) {
      iovec vectors[parts_per_call];
      const size_t count = std::min(parts.size(), parts_per_call);
      size_t total = 0;
      for (size_t i = 0; i < count; ++i) {
        vectors[i] = {const_cast<char*>(parts[i].data()), parts[i].size()};
        total += parts[i].size();
      }
      ssize_t put;
      do put = pwritev(fd_, vectors, int(count), off_t(offset));
      while (put < 0 && errno == EINTR);
      if (put < 0) return fail(disk_error("write " + path_, errno));
      if (size_t(put) < total) {
        DURE_CHECK(write_rest(offset, parts.first(count), size_t(put)));
      }
      offset += total;
      parts = parts.subspan(count);
    }
    return {};
  }
  Status write_through(uint64_t offset, std::string_view bytes) override {
    DURE_TRY(const size_t written, write_direct(offset, bytes));
    DURE_CHECK(write_at(offset + written, bytes.substr(written)));
    return sync();
  }
  Status sync() override {
    if (fdatasync(fd_) != 0) return fail(disk_error("fdatasync " + path_, errno));
    return {};
  }
  Status allocate(uint64_t size) override {
    DURE_TRY(const uint64_t old_size, this->size());
    if (size <= old_size) return {};
    int error = 0;
    do error = fallocate(fd_, 0, off_t(old_size), off_t(size - old_size)) == 0 ? 0 : errno;
    while (error == EINTR);
    if (error != 0 && error != EOPNOTSUPP) return fail(disk_error("fallocate " + path_, error));
    // Zeros are written once, because a write into a reserved but unwritten extent still commits
    // the file system's journal.
    static constexpr size_t chunk = 256 << 10;
    const std::string zeros(chunk, '\0');
    for (uint64_t at = old_size; at < size; at += chunk) {
      const auto part = std::string_view(zeros).substr(0, size_t(std::min<uint64_t>(chunk, size - at)));
      DURE_CHECK(write_at(at, part));
    }
    return {};
  }
  Status truncate(uint64_t size) override {
    if (ftruncate(fd_, off_t(size)) != 0) return fail(disk_error("truncate " + path_, errno));
    return {};
  }
  Result<uint64_t> size() const override {
    struct stat info;
    if (fstat(fd_, &info) != 0) return fail(disk_error("stat " + path_, errno));
    return uint64_t(info.st_size);
  }

 private:
  static constexpr size_t direct_block = 4096;      // enough for the file systems and disks that Debian knows
  static constexpr size_t direct_most = 64 << 10;  // for more the page cache is no slower

  // O_DIRECT, by a descriptor of its own, so that everything else keeps the page cache. Answers how much it wrote: not
  // all, or nothing, where it cannot be done.
  Result<size_t> write_direct(uint64_t offset, std::string_view bytes) {
    if ((offset | bytes.size()) % direct_block != 0 || bytes.empty() || bytes.size() > direct_most) return size_t(0);
    if (direct_fd_ == not_opened) open_direct();
    if (direct_fd_ < 0) return size_t(0);
    bytes.copy(direct_memory_.get(), bytes.size());
    ssize_t put;
    do put = pwrite(direct_fd_, direct_memory_.get(), bytes.size(), off_t(offset));
    while (put < 0 && errno == EINTR);
    if (put >= 0) return size_t(put);
    if (errno != EINVAL) return fail(disk_error("write " + path_, errno));
    close_direct();
    return size_t(0);
  }
  void open_direct() {
    direct_memory_.reset(static_cast<char*>(std::aligned_alloc(direct_block, direct_most)));
    const std::string same_file = "/proc/self/fd/" + std::to_string(fd_);
    direct_fd_ = direct_memory_ ? ::open(same_file.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC) : -1;
    if (direct_fd_ < 0) close_direct();
  }
  void close_direct() {
    if (direct_fd_ >= 0) ::close(direct_fd_);
    direct_fd_ = impossible;
    direct_memory_.reset();
  }

  Status write_rest(uint64_t offset, std::span<const std::string_view> parts, size_t skip) {
    for (auto part : parts) {
      const size_t skipped = std::min(skip, part.size());
      DURE_CHECK(write_at(offset + skipped, part.substr(skipped)));
      skip -= skipped;
      offset += part.size();
    }
    return {};
  }
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  static constexpr int not_opened = -1, impossible = -2;

  const int fd_;
  const std::string path_;
  int direct_fd_ = not_opened;
  std::unique_ptr<char, Free> direct_memory_;
};

class LinuxLock final : public FileLock {
 public:
  explicit LinuxLock(int fd) : fd_(fd) {}
  ~LinuxLock() override { ::close(fd_); }

 private:
  const int fd_;
};

class LinuxDisk final : public Disk {
 public:
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0) return fail(disk_error("open " + path, errno));
    auto lock = std::make_unique<LinuxLock>(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
    const int refused = errno;
    Error error = disk_error("lock " + path, refused);
    if (refused == EWOULDBLOCK) error.reason = "FileLocked";
    return fail(std::move(error));
  }
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode, int permissions) override {
    int flags = O_CLOEXEC | O_NOCTTY;
    switch (mode) {
      case OpenMode::read:
        flags |= O_RDONLY;
        break;
      case OpenMode::write:
        flags |= O_RDWR;
        break;
      case OpenMode::create:
        flags |= O_RDWR | O_CREAT;
        break;
      case OpenMode::create_new:
        flags |= O_RDWR | O_CREAT | O_EXCL;
        break;
    }
    int fd;
    do fd = ::open(path.c_str(), flags, permissions);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return fail(disk_error("open " + path, errno));
    return std::make_unique<LinuxFile>(fd, path);
  }
  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return fail(disk_error("rename " + from + " to " + to, errno));
    return {};
  }
  Status remove(const std::string& path) override {
    if (::remove(path.c_str()) != 0) return fail(disk_error("remove " + path, errno));
    return {};
  }
  Status make_directories(const std::string& path, int permissions) override {
    for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
      const std::string part = path.substr(0, at);
      if (mkdir(part.c_str(), mode_t(permissions)) == 0) {
        const size_t slash = part.rfind('/');
        DURE_CHECK(sync_directory(slash == std::string::npos ? "." : slash == 0 ? "/" : part.substr(0, slash)));
      } else if (errno != EEXIST && !exists(part)) {
        return fail(disk_error("make folder " + part, errno));
      }
      if (at == std::string::npos) break;
    }
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return fail(disk_error("stat " + path, errno));
    if (!S_ISDIR(info.st_mode)) return fail(disk_error("make folder " + path, ENOTDIR));
    return {};
  }
  Status sync_directory(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(disk_error("open folder " + path, errno));
    const int error = fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    if (error != 0) return fail(disk_error("fsync folder " + path, error));
    return {};
  }
  Result<std::vector<std::string>> list(const std::string& path) const override {
    DIR* directory = opendir(path.c_str());
    if (!directory) return fail(disk_error("open folder " + path, errno));
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    closedir(directory);
    if (error != 0) return fail(disk_error("read folder " + path, error));
    std::sort(names.begin(), names.end());
    return names;
  }
  bool exists(const std::string& path) const override { return access(path.c_str(), F_OK) == 0; }
  Result<uint64_t> free_bytes(const std::string& path) const override {
    struct statvfs info;
    if (statvfs(path.c_str(), &info) != 0) return fail(disk_error("statvfs " + path, errno));
    return uint64_t(info.f_bavail) * info.f_frsize;
  }
};

}  // namespace

std::unique_ptr<Disk> make_disk() { return std::make_unique<LinuxDisk>(); }

}  // namespace dure::os
