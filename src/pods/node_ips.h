// NodeIps: the node's own addresses, which may become known only after its pod CIDR is. A handle: copies share the
// addresses. Thread: any.
#pragma once

#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace dure::pods {

class NodeIps {
 public:
  NodeIps(std::vector<std::string> ips = {}) : shared_(std::make_shared<Shared>(std::move(ips))) {}  // NOLINT: a value
  NodeIps(std::initializer_list<std::string> ips) : NodeIps(std::vector<std::string>(ips)) {}

  std::vector<std::string> get() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->ips;
  }
  bool set(std::vector<std::string> ips) const {  // true: they are others now
    const std::lock_guard lock(shared_->mutex);
    std::swap(shared_->ips, ips);
    return shared_->ips != ips;
  }

 private:
  struct Shared {
    explicit Shared(std::vector<std::string> first) : ips(std::move(first)) {}
    std::mutex mutex;
    std::vector<std::string> ips;
  };
  std::shared_ptr<Shared> shared_;
};

}  // namespace dure::pods
