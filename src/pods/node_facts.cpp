#include "pods/node_facts.h"

#include <cstdlib>

#include "base/text.h"
#include "pods/image_archive.h"

namespace dure::pods {

namespace {

std::string line_of(os::Disk& disk, const std::string& path) {
  return std::string(trim(os::read_file(disk, path, 1 << 20).value_or("")));
}

}  // namespace

int64_t meminfo_value(std::string_view meminfo, std::string_view name) {
  for (std::string_view line : split(meminfo, '\n')) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || line.substr(0, colon) != name) continue;
    std::string_view value = trim(line.substr(colon + 1));
    const bool kilobytes = value.ends_with("kB");
    if (kilobytes) value = trim(value.substr(0, value.size() - 2));
    return parse_int(value).value_or(0) * (kilobytes ? 1024 : 1);
  }
  return 0;
}

std::string release_value(std::string_view text, std::string_view key) {
  for (std::string_view line : split(text, '\n')) {
    line = trim(line);
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != '=') continue;
    line.remove_prefix(key.size() + 1);
    if (line.size() >= 2 && (line.front() == '"' || line.front() == '\'') && line.back() == line.front())
      line = line.substr(1, line.size() - 2);
    return std::string(line);
  }
  return {};
}

int64_t count_cpus(std::string_view cpuinfo) {
  int64_t count = 0;
  for (std::string_view line : split(cpuinfo, '\n')) count += line.starts_with("processor");
  return count > 0 ? count : 1;
}

int64_t lowest_oom_score_adj(os::Disk& disk) {
  constexpr uint64_t cap_sys_resource = 1ull << 24;
  const std::string status = line_of(disk, "/proc/self/status");
  for (std::string_view line : split(status, '\n')) {
    if (!line.starts_with("CapEff:")) continue;
    if (std::strtoull(std::string(trim(line.substr(7))).c_str(), nullptr, 16) & cap_sys_resource) return -1000;
  }
  return parse_int(line_of(disk, "/proc/self/oom_score_adj")).value_or(0);
}

MachineFacts read_machine_facts(os::Disk& disk, const std::string& state_folder) {
  MachineFacts out;
  const std::string meminfo = line_of(disk, "/proc/meminfo");
  out.memory_bytes = meminfo_value(meminfo, "MemTotal");
  out.memory_available = meminfo_value(meminfo, "MemAvailable");
  out.swap_bytes = meminfo_value(meminfo, "SwapTotal");
  out.cpus = count_cpus(line_of(disk, "/proc/cpuinfo"));
  out.machine_id = line_of(disk, "/etc/machine-id");
  out.system_uuid = line_of(disk, "/sys/class/dmi/id/product_uuid");
  if (out.system_uuid.empty()) out.system_uuid = out.machine_id;
  out.boot_id = line_of(disk, "/proc/sys/kernel/random/boot_id");
  out.kernel_version = line_of(disk, "/proc/sys/kernel/osrelease");
  out.os_image = release_value(line_of(disk, "/etc/os-release"), "PRETTY_NAME");
  out.architecture = this_architecture();
  std::string folder = state_folder;
  while (!folder.empty() && !disk.exists(folder)) folder = folder.substr(0, folder.rfind('/'));
  out.disk_free = disk.free_bytes(folder.empty() ? "/" : folder).value_or(0);
  return out;
}

}  // namespace dure::pods
