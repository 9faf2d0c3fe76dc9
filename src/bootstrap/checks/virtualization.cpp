#include "bootstrap/checks/virtualization.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/text.h"

namespace dure::bootstrap {
namespace {

constexpr std::array<std::pair<std::string_view, const char*>, 7> known = {{{"VirtualBox", "oracle"},
                                                                            {"innotek", "oracle"},
                                                                            {"VMware", "vmware"},
                                                                            {"QEMU", "kvm"},
                                                                            {"KVM", "kvm"},
                                                                            {"Virtual Machine", "microsoft"},
                                                                            {"Xen", "xen"}}};

}  // namespace

Virtualization read_virtualization(os::Disk& disk, const std::string& root) {
  const auto text = [&](const char* path) { return os::read_file(disk, root + path).value_or(""); };
  const auto line = [&](const char* path) { return std::string(trim(text(path))); };
  for (const char* told : {"/run/systemd/container", "/run/host/container-manager"})
    if (const std::string container = line(told); !container.empty()) return {true, container};
  if (disk.exists(root + "/.dockerenv")) return {true, "docker"};
  if (disk.exists(root + "/run/.containerenv")) return {true, "podman"};
  const std::string vendor = line("/sys/class/dmi/id/sys_vendor"), product = line("/sys/class/dmi/id/product_name");
  for (const auto& [word, name] : known)
    if (vendor.find(word) != std::string::npos || product.find(word) != std::string::npos) return {false, name};
  if (text("/proc/cpuinfo").find(" hypervisor") != std::string::npos) return {false, "vm-other"};
  return {};
}

}  // namespace dure::bootstrap
