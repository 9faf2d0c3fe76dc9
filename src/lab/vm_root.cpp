#include "lab/vm_root.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include <fmt/format.h>

#include "base/text.h"
#include "lab/systemd_root.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

constexpr const char* kImageSize = "1500M";

// Until the root is there: vda is the image, vdb the machine's own disk. Where the machine stands comes from outside.
constexpr std::string_view kInit = R"(#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev /image /disk /root
/bin/busybox --install -s /bin
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t devtmpfs devtmpfs /dev
while read module; do insmod "/modules/$module"; done < /modules/order
mount -t ext4 -o ro /dev/vda /image && mount -t ext4 /dev/vdb /disk || exec sh
mkdir -p /disk/root /disk/work /disk/containerd
mount -t overlay -o lowerdir=/image,upperdir=/disk/root,workdir=/disk/work overlay /root || exec sh
mkdir -p /root/var/lib/containerd
mount --bind /disk/containerd /root/var/lib/containerd
for word in $(cat /proc/cmdline); do case $word in dure.*=*) eval "${word#dure.}";; esac; done
chroot /root ip link set lo up
chroot /root ip address add "$address" dev eth0
chroot /root ip link set eth0 up
chroot /root ip route add default via "$gateway" dev eth0 proto dhcp
mount --move /dev /root/dev
exec switch_root /root /sbin/init
)";

constexpr const char* kModules[] = {"virtio_pci",     "virtio_blk", "virtio_net",
                                    "virtio_console", "virtio_rng", "overlay"};

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

std::string module_name(std::string_view file) {
  std::string name = fs::path(file).filename().string();
  name = name.substr(0, name.find('.'));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// The archive that a kernel unpacks as its first root ("newc", described in the kernel's early-userspace document).
class InitrdArchive {
 public:
  void folder(const std::string& name) { put(name, 040755, {}); }
  void file(const std::string& name, std::string_view bytes) { put(name, 0100755, bytes); }
  std::string end() {
    put("TRAILER!!!", 0, {});
    return std::move(out_);
  }

 private:
  void put(const std::string& name, unsigned mode, std::string_view bytes) {
    out_ += "070701";
    for (const size_t field : {++number_, size_t{mode}, size_t{0}, size_t{0}, size_t{1}, size_t{0}, bytes.size(),
                               size_t{0}, size_t{0}, size_t{0}, size_t{0}, name.size() + 1, size_t{0}})
      out_ += fmt::format("{:08x}", field);
    out_.append(name) += '\0';
    align();
    out_.append(bytes);
    align();
  }
  void align() { out_.append((4 - out_.size() % 4) % 4, '\0'); }

  std::string out_;
  size_t number_ = 0;
};

Result<std::string> make_initrd(const std::string& root) {
  std::error_code error;
  const fs::directory_iterator versions(root + "/usr/lib/modules", error);
  const std::string busybox = text_of(root + "/bin/busybox");
  if (error || versions == fs::directory_iterator() || busybox.empty())
    return fail(Error{500, "RootNotMade", root + " has no kernel; remove that folder and try again"});
  const fs::path modules = versions->path();
  InitrdArchive archive;
  for (const char* folder : {"bin", "modules"}) archive.folder(folder);
  archive.file("init", kInit);
  archive.file("bin/busybox", busybox);
  std::string order;
  for (const std::string& file :
       modules_in_order(text_of(modules / "modules.dep"), {std::begin(kModules), std::end(kModules)})) {
    order += module_name(file) + "\n";
    archive.file("modules/" + module_name(file), text_of(modules / file));
  }
  archive.file("modules/order", order);
  return archive.end();
}

class DependencyOrder {
 public:
  explicit DependencyOrder(std::string_view modules_dep) {
    for (std::string_view line : split(modules_dep, '\n')) {
      const size_t colon = line.find(':');
      if (colon == std::string_view::npos) continue;
      Module& module = modules_[module_name(line.substr(0, colon))];
      module.file = line.substr(0, colon);
      for (std::string_view needed : split(line.substr(colon + 1), ' '))
        if (!needed.empty()) module.needs.push_back(module_name(needed));
    }
  }

  void visit(const std::string& name, std::vector<std::string>& out) {
    const auto found = modules_.find(name);
    if (found == modules_.end() || std::exchange(found->second.taken, true)) return;
    for (const std::string& needed : found->second.needs) visit(needed, out);
    out.push_back(found->second.file);
  }

 private:
  struct Module {
    std::string file;
    std::vector<std::string> needs;
    bool taken = false;
  };
  std::map<std::string, Module> modules_;
};

}  // namespace

std::vector<std::string> modules_in_order(std::string_view modules_dep, const std::vector<std::string>& wanted) {
  DependencyOrder order(modules_dep);
  std::vector<std::string> out;
  for (const std::string& name : wanted) order.visit(name, out);
  return out;
}

Result<VmRoot> vm_root(CacheHolds& holds, const std::function<void(const std::string&)>& progress) {
  DURE_TRY(const std::string root, systemd_root(holds, progress));
  std::string recipe = root + kImageSize + std::string(kInit);
  for (const char* module : kModules) recipe += module;
  const std::string folder = cached("vm", recipe), fresh = folder + ".new";
  const VmRoot out{root + "/boot/vmlinuz", folder + "/initrd", folder + "/image"};
  std::error_code error;
  if (holds.take(folder)) return out;
  const CacheLock lock;
  if (holds.take(folder)) return out;
  progress("an image of it for virtual machines is made once, in " + folder);
  fs::remove_all(fresh, error);
  fs::create_directories(fresh, error);
  DURE_TRY(const std::string initrd, make_initrd(root));
  std::ofstream(fresh + "/initrd", std::ios::binary) << initrd;
  DURE_CHECK(
      run_maker({"mke2fs", "-q", "-t", "ext4", "-d", root, fresh + "/image", kImageSize}, "e2fsprogs", "NoMke2fs"));
  fs::rename(fresh, folder, error);
  if (error || !holds.take(folder)) return fail(from_errno("rename " + fresh, error.value()));
  remove_former("vm", folder);
  return out;
}

}  // namespace dure::lab
