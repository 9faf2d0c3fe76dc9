#include "kernel/cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "base/text.h"
#include "kernel/netlink.h"

namespace dure::kernel {

namespace fs = std::filesystem;

namespace {

constexpr auto kill_time_max = 2s;
constexpr auto kill_step = 10ms;
constexpr int remove_tries_max = 100;  // groups of v1 stay busy for a moment after their last process

std::optional<std::string> read_file(const fs::path& path) {
  std::ifstream in(path);
  if (!in) return std::nullopt;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Status write_file(const fs::path& path, std::string_view text) {
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fail(netlink::error_of("write " + path.string(), errno));
  ssize_t put = write(fd, text.data(), text.size());
  int failed = errno;
  close(fd);
  if (put < 0) return fail(netlink::error_of("write \"" + std::string(text) + "\" to " + path.string(), failed));
  return {};
}

int64_t number_in(const fs::path& path, int64_t otherwise = 0) {
  auto text = read_file(path);
  return text ? parse_int(trim(*text)).value_or(otherwise) : otherwise;
}

// The value behind `key` in a file of "key value" lines.
int64_t field_in(const fs::path& path, std::string_view key) {
  auto text = read_file(path);
  if (!text) return 0;
  for (std::string_view line : split(*text, '\n')) {
    size_t space = line.find(' ');
    if (space != line.npos && line.substr(0, space) == key) return parse_int(trim(line.substr(space + 1))).value_or(0);
  }
  return 0;
}

std::string max_or(int64_t value) { return value < 0 ? "max" : std::to_string(value); }

bool plain_path(std::string_view path) {
  for (std::string_view part : split(path, '/'))
    if (part == ".." || part == ".") return false;
  return true;
}

// One tree of directories: v2's only one, or the one of one v1 controller.
struct Tree {
  std::string controller;  // empty: the v2 tree
  fs::path mount, base;    // base: mount + own group + parent
};

class LinuxCgroups final : public Cgroups {
 public:
  LinuxCgroups(CgroupVersion version, std::vector<Tree> trees) : version_(version), trees_(std::move(trees)) {}

  CgroupVersion version() const override { return version_; }

  std::vector<std::string> controllers() const override {
    std::vector<std::string> out;
    for (const Tree& tree : trees_) {
      if (!tree.controller.empty()) out.push_back(tree.controller);
      if (tree.controller.empty() && version_ == CgroupVersion::v2)
        for (std::string_view name : split(trim(read_file(tree.mount / "cgroup.controllers").value_or("")), ' '))
          out.emplace_back(name);
    }
    return out;
  }

  Status create(std::string_view path) override {
    DURE_CHECK(check(path));
    for (const Tree& tree : trees_) DURE_CHECK(create_in(tree, tree.base / path));
    return {};
  }

  Status set_limits(std::string_view path, const CgroupLimits& limits) override {
    DURE_CHECK(check(path));
    return version_ == CgroupVersion::v2 ? limits_v2(path, limits) : limits_v1(path, limits);
  }

  Status add_process(std::string_view path, pid_t pid) override {
    DURE_CHECK(check(path));
    for (const Tree& tree : trees_) DURE_CHECK(write_file(tree.base / path / "cgroup.procs", std::to_string(pid)));
    return {};
  }

  Result<std::vector<pid_t>> processes(std::string_view path) override {
    DURE_CHECK(check(path));
    std::set<pid_t> out;
    bool any = false;
    for (const Tree& tree : trees_) {
      std::error_code error;
      fs::path top = tree.base / path;
      if (!fs::exists(top, error)) continue;
      any = true;
      for (const fs::path& group : groups_below(top))
        for (std::string_view line : split(read_file(group / "cgroup.procs").value_or(""), '\n'))
          if (auto pid = parse_int(line); pid && *pid > 0) out.insert(static_cast<pid_t>(*pid));
    }
    if (!any) return fail(not_found("cgroups", path));
    return std::vector<pid_t>(out.begin(), out.end());
  }

  Status kill(std::string_view path) override {
    for (auto waited = Duration::zero(); waited < kill_time_max; waited += kill_step) {
      auto alive = processes(path);
      if (!alive && alive.error().is("NotFound")) return {};
      if (!alive) return fail(alive.error());
      if (alive->empty()) return {};
      for (pid_t pid : *alive) ::kill(pid, SIGKILL);
      std::this_thread::sleep_for(kill_step);
    }
    return fail(timed_out("processes of cgroup " + std::string(path) + " do not end"));
  }

  Status remove(std::string_view path) override {
    DURE_CHECK(check(path));
    for (const Tree& tree : trees_) DURE_CHECK(remove_tree(tree.base / path));
    return {};
  }

  Result<CgroupStat> stat(std::string_view path) override {
    DURE_CHECK(check(path));
    std::error_code error;
    if (trees_.empty() || !fs::exists(trees_.front().base / path, error)) return fail(not_found("cgroups", path));
    return version_ == CgroupVersion::v2 ? stat_v2(path) : stat_v1(path);
  }

  std::vector<std::string> children(std::string_view path) override {
    std::set<std::string> out;
    if (!check(path)) return {};
    for (const Tree& tree : trees_) {
      std::error_code error;
      for (const auto& entry : fs::directory_iterator(tree.base / path, error))
        if (entry.is_directory(error)) out.insert(entry.path().filename());
    }
    return {out.begin(), out.end()};
  }

 private:
  static Status check(std::string_view path) {
    if (!plain_path(path) || path.starts_with('/'))
      return fail(bad_request("\"" + std::string(path) + "\" is not a cgroup below our parent"));
    return {};
  }

  // Directories from the mount down; on the way v2 hands its controllers on and cpuset copies its CPUs.
  Status create_in(const Tree& tree, const fs::path& target) {
    fs::path at = tree.mount;
    for (const fs::path& part : target.lexically_relative(tree.mount)) {
      if (part == ".") continue;
      if (version_ == CgroupVersion::v2) hand_on_controllers(at);
      fs::path next = at / part;
      std::error_code error;
      bool made = fs::create_directory(next, error);
      if (error) return fail(netlink::error_of("create cgroup " + next.string(), error.value()));
      if (made && tree.controller == "cpuset") copy_cpuset(at, next);
      at = next;
    }
    return {};
  }

  static void hand_on_controllers(const fs::path& group) {
    auto available = read_file(group / "cgroup.controllers");
    auto handed = read_file(group / "cgroup.subtree_control");
    if (!available || !handed) return;
    auto has = split(trim(*handed), ' ');
    for (std::string_view name : split(trim(*available), ' ')) {
      if (name.empty() || std::ranges::find(has, name) != has.end()) continue;
      // Fails where processes live in the group itself; what could not be handed on is not limited below.
      (void)write_file(group / "cgroup.subtree_control", "+" + std::string(name));
    }
  }

  static void copy_cpuset(const fs::path& from, const fs::path& to) {
    for (const char* file : {"cpuset.cpus", "cpuset.mems"})
      if (auto value = read_file(from / file); value && read_file(to / file).value_or("\n") == "\n")
        (void)write_file(to / file, trim(*value));
  }

  const Tree* tree_of(std::string_view controller) const {
    for (const Tree& tree : trees_)
      for (std::string_view name : split(tree.controller, ','))
        if (name == controller) return &tree;
    return nullptr;
  }

  Status put_v1(std::string_view controller, std::string_view path, const char* file, const std::string& value) {
    const Tree* tree = tree_of(controller);
    if (!tree) return fail(unsupported("this machine has no cgroup controller " + std::string(controller)));
    return write_file(tree->base / path / file, value);
  }

  Status limits_v1(std::string_view path, const CgroupLimits& limits) {
    if (limits.memory_bytes_max)
      DURE_CHECK(put_v1("memory", path, "memory.limit_in_bytes", std::to_string(*limits.memory_bytes_max)));
    if (limits.cpu_shares) DURE_CHECK(put_v1("cpu", path, "cpu.shares", std::to_string(*limits.cpu_shares)));
    if (limits.cpu_period_us)
      DURE_CHECK(put_v1("cpu", path, "cpu.cfs_period_us", std::to_string(*limits.cpu_period_us)));
    if (limits.cpu_quota_us) DURE_CHECK(put_v1("cpu", path, "cpu.cfs_quota_us", std::to_string(*limits.cpu_quota_us)));
    if (limits.pids_max) DURE_CHECK(put_v1("pids", path, "pids.max", max_or(*limits.pids_max)));
    if (limits.cpuset_cpus) DURE_CHECK(put_v1("cpuset", path, "cpuset.cpus", *limits.cpuset_cpus));
    return {};
  }

  Status limits_v2(std::string_view path, const CgroupLimits& limits) {
    fs::path group = trees_.front().base / path;
    if (limits.memory_bytes_max) DURE_CHECK(write_file(group / "memory.max", max_or(*limits.memory_bytes_max)));
    if (limits.cpu_shares)
      DURE_CHECK(write_file(group / "cpu.weight", std::to_string(cgroup_weight(*limits.cpu_shares))));
    if (limits.cpu_quota_us || limits.cpu_period_us) {
      const std::string text = read_file(group / "cpu.max").value_or("max 100000");
      const auto now = split(trim(text), ' ');
      std::string kept_quota(now[0]), kept_period(now.size() > 1 ? now[1] : "100000");
      std::string quota = limits.cpu_quota_us ? max_or(*limits.cpu_quota_us) : kept_quota;
      std::string period = limits.cpu_period_us ? std::to_string(*limits.cpu_period_us) : kept_period;
      DURE_CHECK(write_file(group / "cpu.max", quota + " " + period));
    }
    if (limits.pids_max) DURE_CHECK(write_file(group / "pids.max", max_or(*limits.pids_max)));
    if (limits.cpuset_cpus) DURE_CHECK(write_file(group / "cpuset.cpus", *limits.cpuset_cpus));
    return {};
  }

  CgroupStat stat_v1(std::string_view path) const {
    CgroupStat out;
    if (const Tree* tree = tree_of("cpuacct")) out.cpu = Duration(number_in(tree->base / path / "cpuacct.usage"));
    if (const Tree* tree = tree_of("cpu"))
      out.cpu_throttled_periods = field_in(tree->base / path / "cpu.stat", "nr_throttled");
    if (const Tree* tree = tree_of("memory")) {
      fs::path group = tree->base / path;
      out.memory_bytes = number_in(group / "memory.usage_in_bytes");
      int64_t inactive = field_in(group / "memory.stat", "total_inactive_file");
      out.memory_working_set_bytes = std::max<int64_t>(0, out.memory_bytes - inactive);
      out.memory_rss_bytes = field_in(group / "memory.stat", "total_rss");
      int64_t limit = number_in(group / "memory.limit_in_bytes", -1);
      out.memory_limit_bytes = limit >= int64_t{1} << 62 ? -1 : limit;  // v1 writes a huge number for none
      out.oom_kills = field_in(group / "memory.oom_control", "oom_kill");
    }
    if (const Tree* tree = tree_of("pids")) out.pids = number_in(tree->base / path / "pids.current");
    return out;
  }

  CgroupStat stat_v2(std::string_view path) const {
    fs::path group = trees_.front().base / path;
    CgroupStat out;
    out.cpu = Duration(field_in(group / "cpu.stat", "usage_usec") * 1000);
    out.cpu_throttled_periods = field_in(group / "cpu.stat", "nr_throttled");
    out.memory_bytes = number_in(group / "memory.current");
    int64_t inactive = field_in(group / "memory.stat", "inactive_file");
    out.memory_working_set_bytes = std::max<int64_t>(0, out.memory_bytes - inactive);
    out.memory_rss_bytes = field_in(group / "memory.stat", "anon");
    out.memory_limit_bytes = number_in(group / "memory.max", -1);
    out.oom_kills = field_in(group / "memory.events", "oom_kill");
    out.pids = number_in(group / "pids.current");
    return out;
  }

  // The group and everything below it, deepest first.
  static std::vector<fs::path> groups_below(const fs::path& top) {
    std::vector<fs::path> out{top};
    std::error_code error;
    for (auto at = fs::recursive_directory_iterator(top, error); !error && at != fs::recursive_directory_iterator();
         at.increment(error))
      if (at->is_directory(error)) out.push_back(at->path());
    std::ranges::reverse(out);
    return out;
  }

  static Status remove_tree(const fs::path& top) {
    std::error_code error;
    if (!fs::exists(top, error)) return {};
    for (const fs::path& group : groups_below(top)) {
      for (int tries = 0; rmdir(group.c_str()) < 0 && errno != ENOENT; ++tries) {
        const int failed = errno;
        bool used = !trim(read_file(group / "cgroup.procs").value_or("")).empty();
        if (failed == EBUSY && !used && tries < remove_tries_max) {
          std::this_thread::sleep_for(kill_step);
          continue;
        }
        if (used) return fail(Error{409, "Conflict", "cgroup " + group.string() + " still has processes"});
        return fail(netlink::error_of("remove cgroup " + group.string(), failed));
      }
    }
    return {};
  }

  CgroupVersion version_;
  std::vector<Tree> trees_;  // v2: one; hybrid: the v1 controllers first, then the v2 tree
};

// controllers ("cpu,cpuacct", "name=systemd", "" for v2) -> the group of this process.
std::vector<std::pair<std::string, std::string>> own_groups(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  for (std::string_view line : split(text, '\n')) {
    size_t first = line.find(':');
    size_t second = first == line.npos ? first : line.find(':', first + 1);
    if (second == line.npos) continue;
    out.emplace_back(line.substr(first + 1, second - first - 1), line.substr(second + 1));
  }
  return out;
}

fs::path base_path(const fs::path& mount, const CgroupOptions& options, const std::string& own) {
  fs::path base = mount;
  if (options.below_own_group) base /= fs::path(own).relative_path();
  return base / fs::path(options.parent).relative_path();
}

}  // namespace

Result<std::unique_ptr<Cgroups>> open_cgroups(const CgroupOptions& options) {
  if (options.parent.empty() || !plain_path(options.parent))
    return fail(bad_request("a parent group is needed: nothing outside it is ever changed"));
  std::error_code error;
  std::string text =
      options.own_group_text.empty() ? read_file("/proc/self/cgroup").value_or("") : options.own_group_text;
  auto own = own_groups(text);
  fs::path root(options.root);
  if (fs::exists(root / "cgroup.controllers", error)) {
    std::string group = "/";
    for (auto& [controllers, path] : own)
      if (controllers.empty()) group = path;
    return std::make_unique<LinuxCgroups>(CgroupVersion::v2,
                                          std::vector<Tree>{{"", root, base_path(root, options, group)}});
  }
  std::vector<Tree> trees;
  bool hybrid = fs::exists(root / "unified" / "cgroup.procs", error);
  std::string unified_group = "/";
  for (auto& [controllers, path] : own) {
    if (controllers.empty()) {
      unified_group = path;
      continue;
    }
    std::string folder = controllers.starts_with("name=") ? controllers.substr(5) : controllers;
    if (!fs::exists(root / folder / "cgroup.procs", error)) continue;
    trees.push_back({folder, root / folder, base_path(root / folder, options, path)});
  }
  if (hybrid) trees.push_back({"", root / "unified", base_path(root / "unified", options, unified_group)});
  if (trees.empty())
    return fail(Error{500, "CgroupsMissing", "no cgroup file system below " + options.root,
                      "mount -t cgroup2 none /sys/fs/cgroup"});
  return std::make_unique<LinuxCgroups>(hybrid ? CgroupVersion::hybrid : CgroupVersion::v1, std::move(trees));
}

int64_t cgroup_weight(int64_t cpu_shares) {
  int64_t shares = std::clamp<int64_t>(cpu_shares, 2, 262144);
  return 1 + ((shares - 2) * 9999) / 262142;
}

}  // namespace dure::kernel
