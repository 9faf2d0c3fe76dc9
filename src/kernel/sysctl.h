// Sysctl: the kernel's settings under /proc/sys. Names are written with slashes ("net/ipv4/ip_forward"), because names
// of devices may have dots. Network settings are those of the namespace given on opening. Thread: any.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dure::kernel {

class NetNamespace;

class Sysctl {
 public:
  virtual ~Sysctl() = default;
  virtual Result<std::string> get(std::string_view name) = 0;  // without the line end; NotFound
  virtual Status set(std::string_view name, std::string_view value) = 0;
  // Sets only what differs; answers the value it had before when it changed something (for a journal).
  Result<std::string> ensure(std::string_view name, std::string_view value);
};

Result<std::unique_ptr<Sysctl>> open_sysctl(const NetNamespace* ns = nullptr);

class MemorySysctl final : public Sysctl {  // every name exists and is "0" until set
 public:
  Result<std::string> get(std::string_view name) override;
  Status set(std::string_view name, std::string_view value) override;

 private:
  std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> values_;
};

}  // namespace dure::kernel
