#include "lab/systemd_root.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "lab/vm_root.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPackages =
    "systemd,systemd-sysv,dbus,containerd,runc,iproute2,nftables,procps,iputils-ping,wireguard-go,kmod,busybox-static,"
    "libssl3,libnghttp2-14,libyaml-0-2,libstdc++6";  // the last line: what dure is linked with

// A kernel for nodes of kind vm, without what the package would install beside it to make an initrd: ours is smaller.
constexpr const char* kTakeKernel =
    R"sh(chroot "$1" sh -euc 'cd /tmp
image=$(apt-cache depends linux-image-cloud-amd64 | sed -n "s/.*Depends: \(linux-image[^ ]*\)/\1/p" | head -n 1)
apt-get -q download "$image"
dpkg-deb -x linux-image*.deb kernel
mv kernel/boot/vmlinuz-* /boot/vmlinuz
mv kernel/lib/modules /usr/lib/modules
rm -r kernel linux-image*.deb
depmod -a "$(ls /usr/lib/modules)"')sh";

// What would act on the machine instead of the node (its kernel's settings and devices), or wait for a terminal.
constexpr const char* kMasked[] = {"console-getty.service",
                                   "getty@tty1.service",
                                   "systemd-udevd.service",
                                   "systemd-udevd-kernel.socket",
                                   "systemd-udevd-control.socket",
                                   "systemd-udev-trigger.service",
                                   "systemd-modules-load.service",
                                   "systemd-sysctl.service",
                                   "systemd-binfmt.service",
                                   "proc-sys-fs-binfmt_misc.automount",
                                   "systemd-remount-fs.service",
                                   "systemd-timesyncd.service",
                                   "systemd-hwdb-update.service",
                                   "dev-hugepages.mount",
                                   "dev-mqueue.mount",
                                   "sys-kernel-config.mount",
                                   "sys-kernel-debug.mount",
                                   "sys-kernel-tracing.mount",
                                   "sys-fs-fuse-connections.mount",
                                   "tmp.mount",
                                   "apt-daily.timer",
                                   "apt-daily-upgrade.timer",
                                   "dpkg-db-backup.timer",
                                   "fstrim.timer",
                                   "e2scrub_all.timer"};

bool step(const std::string& what, int result) {
  if (result == 0) return true;
  fprintf(stderr, "lab node: %s: %s\n", what.c_str(), strerror(errno));
  return false;
}

bool devices(const std::string& dev) {
  if (!step(dev, mount("tmpfs", dev.c_str(), "tmpfs", MS_NOSUID, "mode=755,size=4m"))) return false;
  const struct {
    const char* name;
    unsigned major, minor;
  } nodes[] = {{"null", 1, 3},    {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8},
               {"urandom", 1, 9}, {"tty", 5, 0},  {"kmsg", 1, 11}};
  for (const auto& node : nodes) {
    const std::string path = dev + "/" + node.name;
    if (!step(path, mknod(path.c_str(), S_IFCHR | 0666, makedev(node.major, node.minor)))) return false;
    chmod(path.c_str(), 0666);
  }
  for (const char* folder : {"/pts", "/shm", "/net"}) mkdir((dev + folder).c_str(), 0755);
  if (mknod((dev + "/net/tun").c_str(), S_IFCHR | 0600, makedev(10, 200)) != 0) return step(dev + "/net/tun", -1);
  if (symlink("pts/ptmx", (dev + "/ptmx").c_str()) != 0 || symlink("/proc/self/fd", (dev + "/fd").c_str()) != 0)
    return step(dev + " links", -1);
  return step(dev + "/pts", mount("devpts", (dev + "/pts").c_str(), "devpts", MS_NOSUID | MS_NOEXEC,
                                  "newinstance,ptmxmode=0666,mode=620")) &&
         step(dev + "/shm",
              mount("tmpfs", (dev + "/shm").c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m"));
}

// In the upper layer, before it is laid over the lower one.
void prepare_changes(const std::string& changes, const std::string& program) {
  std::error_code error;
  fs::create_directories(changes + "/usr/local/bin", error);
  fs::remove(changes + "/usr/local/bin/dure", error);
  fs::create_hard_link(program, changes + "/usr/local/bin/dure", error);
  if (error) fs::copy_file(program, changes + "/usr/local/bin/dure", fs::copy_options::overwrite_existing, error);
  fs::create_directories(changes + "/etc/systemd/system", error);
  for (const char* unit : kMasked) fs::create_symlink("/dev/null", changes + "/etc/systemd/system/" + unit, error);
}

}  // namespace

Result<std::string> systemd_root(CacheHolds& holds, const std::function<void(const std::string&)>& progress) {
  const std::string root = cached("debian", std::string(kPackages) + kTakeKernel), fresh = root + ".new";
  std::error_code error;
  if (holds.take(root)) return root;
  const CacheLock lock;
  if (holds.take(root)) return root;
  fs::remove_all(fresh, error);
  progress("a Debian root file system with systemd is made once, in " + root + "; this takes a minute or two");
  std::vector<std::string> words{"mmdebstrap", "--variant=minbase", std::string("--include=") + kPackages};
  for (const char* part : {"doc", "man", "locale"})
    words.push_back("--dpkgopt=path-exclude=/usr/share/" + std::string(part) + "/*");
  if (kVmArchitecture) words.push_back(std::string("--customize-hook=") + kTakeKernel);
  words.insert(words.end(), {"bookworm", fresh});
  DURE_CHECK(run_maker(words, "mmdebstrap", "NoMmdebstrap"));
  fs::rename(fresh, root, error);
  if (error || !holds.take(root)) return fail(from_errno("rename " + fresh, error.value()));
  remove_former("debian", root);
  remove_former("vm", {});  // they were made of those
  return root;
}

bool enter_systemd_root(const std::string& root, const std::string& state, const std::string& program) {
  const std::string top = state + "/mnt", changes = state + "/root";
  std::error_code ignored;
  // containerd's own overlays cannot lie on an overlay, and logs are read from outside.
  for (const char* folder : {"/mnt", "/root", "/root.work", "/var-lib-containerd", "/var-log"})
    fs::create_directories(state + folder, ignored);
  prepare_changes(changes, program);
  const std::string options = "lowerdir=" + root + ",upperdir=" + changes + ",workdir=" + state + "/root.work";
  if (!step("overlay", mount("overlay", top.c_str(), "overlay", 0, options.c_str()))) return false;
  for (const char* folder : {"/var/lib/containerd", "/var/log", "/old"}) fs::create_directories(top + folder, ignored);
  return step("/var/lib/containerd", mount((state + "/var-lib-containerd").c_str(),
                                           (top + "/var/lib/containerd").c_str(), nullptr, MS_BIND, nullptr)) &&
         step("/var/log", mount((state + "/var-log").c_str(), (top + "/var/log").c_str(), nullptr, MS_BIND, nullptr)) &&
         devices(top + "/dev") &&
         step("/proc", mount("proc", (top + "/proc").c_str(), "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, nullptr)) &&
         step("/sys", mount("sysfs", (top + "/sys").c_str(), "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, nullptr)) &&
         step("chdir", chdir(top.c_str())) &&
         step("pivot_root", static_cast<int>(syscall(SYS_pivot_root, ".", "old"))) && step("chdir", chdir("/")) &&
         step("/old", umount2("/old", MNT_DETACH)) &&
         step("/run", mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m")) &&
         step("/tmp", mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=512m"));
}

void become_systemd() {
  char* const arguments[] = {const_cast<char*>("/sbin/init"), nullptr};
  char* const environment[] = {const_cast<char*>("container=dure-lab"),
                               const_cast<char*>("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
                               nullptr};
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  execve("/sbin/init", arguments, environment);
}

}  // namespace dure::lab
