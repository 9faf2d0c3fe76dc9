// Mounts: file systems of the calling process's mount namespace: bind, tmpfs, unmount, list, propagation.
// Thread: any. `unmount` and the removal of what is gone already are success.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure::kernel {

enum class Propagation { private_, shared, slave };

struct MountEntry {  // a line of mountinfo
  int id = 0, parent = 0;
  std::string root;  // the part of the file system that is mounted
  std::string target;
  std::string type, source, options, super_options;
  bool shared = false;
};

struct MountRequest {
  std::string source, target, type;
  std::string data = {};  // options of the file system: "size=64m"
  bool read_only = false, no_exec = false, no_suid = false, no_dev = false;
};

struct BindOptions {
  bool recursive = false, read_only = false;
  std::optional<Propagation> propagation = {};
};

struct TmpfsOptions {
  std::optional<int64_t> size_bytes = {};
  std::string mode = "0755";
  bool huge_pages = false;
};

class Mounts {
 public:
  virtual ~Mounts() = default;
  virtual Result<std::vector<MountEntry>> list() = 0;
  virtual Status mount(const MountRequest&) = 0;  // the target must exist
  virtual Status bind(const std::string& source, const std::string& target, const BindOptions& = {}) = 0;
  virtual Status tmpfs(const std::string& target, const TmpfsOptions& = {}) = 0;
  virtual Status set_propagation(const std::string& target, Propagation, bool recursive) = 0;
  // `lazy`: detaches now, frees when the last user left.
  virtual Status unmount(const std::string& target, bool lazy = false) = 0;
  Result<bool> is_mounted(const std::string& target);
  // Everything mounted at `target` or below it, deepest first.
  Status unmount_all(const std::string& target);
};

std::unique_ptr<Mounts> linux_mounts();

std::vector<MountEntry> parse_mountinfo(std::string_view text);  // /proc/self/mountinfo, proc(5)

}  // namespace dure::kernel
