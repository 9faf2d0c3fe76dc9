// NetNamespace: one network namespace, held by a file descriptor; work is run inside it on a thread of its own, so that
// the calling thread never changes its namespace.
//
// Owner: the object owns its descriptor; a namespace without a name lives as long as somebody holds it. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dure::kernel {

class NetNamespace {
 public:
  static Result<NetNamespace> current();                      // of the calling thread
  static Result<NetNamespace> open(const std::string& path);  // "/run/netns/x", "/proc/1/ns/net"; NotFound
  // A new one without a name: gone with the last descriptor or process in it.
  static Result<NetNamespace> create();

  NetNamespace(NetNamespace&& other) noexcept;
  NetNamespace& operator=(NetNamespace&& other) noexcept;
  ~NetNamespace();

  int fd() const { return fd_; }
  uint64_t inode() const { return inode_; }  // equal inodes: the same namespace
  // Runs `work` on a new thread inside the namespace and waits for it. Sockets made there stay there.
  Status run(const std::function<void()>& work) const;

 private:
  explicit NetNamespace(int fd);
  int fd_ = -1;
  uint64_t inode_ = 0;
};

}  // namespace dure::kernel
