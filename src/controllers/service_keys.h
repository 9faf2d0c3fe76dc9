// Which Services an object concerns; shared by the two endpoints loops.
#pragma once

#include <map>
#include <string>

#include "controllers/api.h"

namespace dure::controllers {

class ServiceKeys {
 public:
  explicit ServiceKeys(Caches& caches);
  // Every Service that selects the pod.
  void of_pod(const Object& pod, const Enqueue& enqueue) const;
  // Pods that a Service selects, ordered by name.
  std::vector<Object> pods_of(const Object& service) const;
  // Services whose endpoints we keep: with a selector, not ExternalName.
  static bool is_ours(const Object& service);

 private:
  Cache& services_;
  Cache& pods_;
};

// The newest change among the Service and its pods that endpoints could come from, as upstream annotates it; empty:
// unknown.
std::string change_trigger_time(const Object& service, const std::vector<Object>& pods);

}  // namespace dure::controllers
