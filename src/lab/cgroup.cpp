#include "lab/cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

// Lines "id:controllers:path" of /proc/<pid>/cgroup.
std::vector<std::pair<std::string, std::string>> groups_of(const std::string& pid) {
  std::vector<std::pair<std::string, std::string>> out;
  std::ifstream file("/proc/" + pid + "/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    out.emplace_back(line.substr(first + 1, second - first - 1), line.substr(second + 1));
  }
  return out;
}

std::string folder_of(const Hierarchy& hierarchy, const std::string& lab, const std::string& node) {
  const std::string own = hierarchy.own_path == "/" ? "" : hierarchy.own_path;
  return hierarchy.mount + own + "/dure-lab/" + lab + (node.empty() ? "" : "/" + node);
}

bool has_controller(const std::string& list, const std::string& wanted) {
  for (std::string_view part : split(list, ','))
    if (part == wanted) return true;
  return false;
}

void copy_file_text(const std::string& from, const std::string& to) {
  std::ifstream in(from);
  std::string text;
  std::getline(in, text);
  std::ofstream(to) << text;
}

// A new cpuset group has no processors and no memory until they are copied down, level by level.
void inherit_cpuset(const Hierarchy& hierarchy, const std::string& lab, const std::string& node) {
  std::string at = hierarchy.mount + (hierarchy.own_path == "/" ? "" : hierarchy.own_path);
  for (const std::string& step : {std::string("dure-lab"), lab, node}) {
    const std::string next = at + "/" + step;
    copy_file_text(at + "/cpuset.cpus", next + "/cpuset.cpus");
    copy_file_text(at + "/cpuset.mems", next + "/cpuset.mems");
    at = next;
  }
}

}  // namespace

Result<std::vector<Hierarchy>> hierarchies() {
  std::vector<Hierarchy> out;
  std::ifstream mounts("/proc/self/mounts");
  const auto own = groups_of("self");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, mount, type, options;
    words >> device >> mount >> type >> options;
    if (type == "cgroup2") {
      for (const auto& [controllers, path] : own)
        if (controllers.empty()) out.push_back({mount, "", path});
    } else if (type == "cgroup") {
      for (const auto& [controllers, path] : own) {
        if (controllers.empty()) continue;
        bool all = true;
        for (std::string_view one : split(controllers, ',')) all = all && has_controller(options, std::string(one));
        if (all) out.push_back({mount, controllers, path});
      }
    }
  }
  if (out.empty()) return fail(Error{500, "NoCgroups", "no cgroup hierarchy is mounted under /sys/fs/cgroup"});
  return out;
}

Status make_groups(const std::vector<Hierarchy>& all, const std::string& lab, const std::string& node) {
  for (const Hierarchy& hierarchy : all) {
    std::error_code error;
    fs::create_directories(folder_of(hierarchy, lab, node), error);
    if (error) return fail(from_errno("mkdir " + folder_of(hierarchy, lab, node), error.value()));
    if (has_controller(hierarchy.controllers, "cpuset")) inherit_cpuset(hierarchy, lab, node);
    if (has_controller(hierarchy.controllers, "memory"))
      std::ofstream(folder_of(hierarchy, lab, node) + "/memory.use_hierarchy") << "1";
    if (hierarchy.v2()) {
      // Hand every controller down; a hybrid machine has none here and the write is empty.
      std::string at = hierarchy.mount + (hierarchy.own_path == "/" ? "" : hierarchy.own_path);
      std::string enable;
      std::ifstream in(at + "/cgroup.controllers");
      for (std::string name; in >> name;) enable += (enable.empty() ? "+" : " +") + name;
      if (enable.empty()) continue;
      for (const std::string& step : {std::string(""), std::string("/dure-lab"), "/" + lab}) {
        at += step;
        std::ofstream(at + "/cgroup.subtree_control") << enable;
      }
    }
  }
  return {};
}

Status enter_groups(const std::vector<Hierarchy>& all, const std::string& lab, const std::string& node) {
  for (const Hierarchy& hierarchy : all) {
    const std::string path = folder_of(hierarchy, lab, node) + "/cgroup.procs";
    std::ofstream file(path);
    file << getpid() << std::flush;
    if (!file) return fail(Error{500, "CgroupRefused", "cannot move a process into " + path});
  }
  return {};
}

void join_cgroups_of(int pid) {
  auto all = hierarchies();
  if (!all) return;
  const auto groups = groups_of(std::to_string(pid));
  for (const Hierarchy& hierarchy : *all)
    for (const auto& [controllers, path] : groups)
      if (controllers == hierarchy.controllers) std::ofstream(hierarchy.mount + path + "/cgroup.procs") << getpid();
}

Status freeze_groups(const std::vector<Hierarchy>& all, const std::string& lab, const std::string& node, bool frozen) {
  bool found = false;
  for (const Hierarchy& hierarchy : all) {
    const std::string group = folder_of(hierarchy, lab, node);
    const bool v1 = has_controller(hierarchy.controllers, "freezer");
    const std::string file = group + (v1 ? "/freezer.state" : "/cgroup.freeze");
    std::error_code ignored;
    if (!(v1 || hierarchy.v2()) || !fs::exists(file, ignored)) continue;
    std::ofstream(file) << (v1 ? (frozen ? "FROZEN" : "THAWED") : (frozen ? "1" : "0"));
    found = true;
    if (v1) break;  // on a hybrid machine both hold the same processes
  }
  if (!found) return fail(Error{501, "NoFreezer", "this machine has no freezer for cgroups"});
  return {};
}

int remove_groups(const std::vector<Hierarchy>& all, const std::string& lab, int tries, const std::string& node) {
  int left = 0;
  // A frozen process does not die of SIGKILL before it thaws.
  for (const Hierarchy& hierarchy : all) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder_of(hierarchy, lab, ""), ignored))
      if (entry.is_directory(ignored) && (node.empty() || entry.path().filename() == node))
        if (!freeze_groups({hierarchy}, lab, entry.path().filename(), false)) break;
  }
  for (int i = 0; i < tries; ++i) {
    left = 0;
    for (const Hierarchy& hierarchy : all) {
      const std::string root = folder_of(hierarchy, lab, node);
      std::error_code error;
      if (!fs::exists(root, error)) continue;
      std::vector<std::string> folders{root};
      for (auto it = fs::recursive_directory_iterator(root, error); it != fs::recursive_directory_iterator();
           it.increment(error)) {
        if (error) break;
        if (it->is_directory(error)) folders.push_back(it->path().string());
      }
      for (auto it = folders.rbegin(); it != folders.rend(); ++it)
        if (rmdir(it->c_str()) != 0 && errno != ENOENT) ++left;
      // The parent goes with the last lab; another lab keeps it.
      if (node.empty()) rmdir(fs::path(root).parent_path().c_str());
    }
    if (left == 0) return 0;
    usleep(100'000);
  }
  return left;
}

}  // namespace dure::lab
