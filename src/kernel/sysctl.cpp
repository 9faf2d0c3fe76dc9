#include "kernel/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <optional>

#include "base/text.h"
#include "kernel/namespaces.h"
#include "kernel/netlink.h"

namespace dure::kernel {

namespace {

Result<std::string> path_of(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.find("..") != name.npos)
    return fail(bad_request("\"" + std::string(name) + "\" is not a kernel setting"));
  return "/proc/sys/" + std::string(name);
}

class LinuxSysctl final : public Sysctl {
 public:
  explicit LinuxSysctl(std::optional<NetNamespace> ns) : namespace_(std::move(ns)) {}

  Result<std::string> get(std::string_view name) override {
    DURE_TRY(std::string path, path_of(name));
    Result<std::string> out = std::string{};
    DURE_CHECK(inside([&] { out = read(path); }));
    return out;
  }

  Status set(std::string_view name, std::string_view value) override {
    DURE_TRY(std::string path, path_of(name));
    Status out;
    DURE_CHECK(inside([&] { out = write(path, value); }));
    return out;
  }

 private:
  Status inside(const std::function<void()>& work) {
    if (namespace_) return namespace_->run(work);
    work();
    return {};
  }

  static Result<std::string> read(const std::string& path) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(netlink::error_of("read " + path, errno));
    char buffer[4096];
    ssize_t got = ::read(fd, buffer, sizeof buffer);
    int failed = errno;
    close(fd);
    if (got < 0) return fail(netlink::error_of("read " + path, failed));
    return std::string(trim({buffer, static_cast<size_t>(got)}));
  }

  static Status write(const std::string& path, std::string_view value) {
    int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return fail(netlink::error_of("set " + path, errno));
    ssize_t put = ::write(fd, value.data(), value.size());
    int failed = errno;
    close(fd);
    if (put != static_cast<ssize_t>(value.size())) return fail(netlink::error_of("set " + path, failed));
    return {};
  }

  std::optional<NetNamespace> namespace_;
};

}  // namespace

Result<std::string> Sysctl::ensure(std::string_view name, std::string_view value) {
  DURE_TRY(std::string before, get(name));
  if (before != value) DURE_CHECK(set(name, value));
  return before;
}

Result<std::unique_ptr<Sysctl>> open_sysctl(const NetNamespace* ns) {
  std::optional<NetNamespace> own;
  if (ns) {
    DURE_TRY(NetNamespace copy, NetNamespace::open("/proc/self/fd/" + std::to_string(ns->fd())));
    own = std::move(copy);
  }
  return std::make_unique<LinuxSysctl>(std::move(own));
}

Result<std::string> MemorySysctl::get(std::string_view name) {
  std::lock_guard lock(mutex_);
  auto found = values_.find(name);
  return found == values_.end() ? std::string("0") : found->second;
}

Status MemorySysctl::set(std::string_view name, std::string_view value) {
  std::lock_guard lock(mutex_);
  values_[std::string(name)] = value;
  return {};
}

}  // namespace dure::kernel
