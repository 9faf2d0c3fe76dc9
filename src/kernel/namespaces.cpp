#include "kernel/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "kernel/netlink.h"

namespace dure::kernel {

namespace {

constexpr const char* own_thread_ns = "/proc/thread-self/ns/net";

int open_file(const char* path) { return ::open(path, O_RDONLY | O_CLOEXEC); }

}  // namespace

NetNamespace::NetNamespace(int fd) : fd_(fd) {
  struct stat info{};
  if (fstat(fd, &info) == 0) inode_ = info.st_ino;
}

NetNamespace::NetNamespace(NetNamespace&& other) noexcept : fd_(std::exchange(other.fd_, -1)), inode_(other.inode_) {}

NetNamespace& NetNamespace::operator=(NetNamespace&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(inode_, other.inode_);
  return *this;
}

NetNamespace::~NetNamespace() {
  if (fd_ >= 0) ::close(fd_);
}

Result<NetNamespace> NetNamespace::current() { return open(own_thread_ns); }

Result<NetNamespace> NetNamespace::open(const std::string& path) {
  int fd = open_file(path.c_str());
  if (fd < 0) return fail(netlink::error_of("open network namespace " + path, errno));
  return NetNamespace(fd);
}

Result<NetNamespace> NetNamespace::create() {
  int fd = -1, failed = 0;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) < 0 || (fd = open_file(own_thread_ns)) < 0) failed = errno;
  }).join();
  if (failed) return fail(netlink::error_of("create a network namespace", failed));
  return NetNamespace(fd);
}

Status NetNamespace::run(const std::function<void()>& work) const {
  int failed = 0;
  std::thread([&] {
    if (setns(fd_, CLONE_NEWNET) < 0)
      failed = errno;
    else
      work();
  }).join();
  if (failed) return fail(netlink::error_of("enter a network namespace", failed));
  return {};
}

}  // namespace dure::kernel
