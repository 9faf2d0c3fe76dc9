#include "lab/vm.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "base/text.h"
#include "lab/cable.h"
#include "lab/cache.h"
#include "lab/guest.h"
#include "lab/identity.h"
#include "lab/process.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

// What waits for a terminal or for devices that nobody announces (there is no udev), or has nothing to do here.
constexpr const char* kMasked[] = {"console-getty.service",
                                   "getty@tty1.service",
                                   "serial-getty@ttyS0.service",
                                   "systemd-timesyncd.service",
                                   "systemd-hwdb-update.service",
                                   "apt-daily.timer",
                                   "apt-daily-upgrade.timer",
                                   "dpkg-db-backup.timer",
                                   "fstrim.timer",
                                   "e2scrub_all.timer",
                                   "e2scrub_reap.service",
                                   "modprobe@configfs.service",
                                   "modprobe@dm_mod.service",
                                   "modprobe@drm.service",
                                   "modprobe@efi_pstore.service",
                                   "modprobe@fuse.service",
                                   "modprobe@loop.service"};

constexpr const char* kGuestUnit = R"([Unit]
Description=Commands from the lab

[Service]
ExecStart=/usr/local/bin/dure lab guest
Environment=HOME=/root
Restart=always
RestartSec=1
KillMode=process
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
)";

void write_changes(const std::string& root, const std::string& program) {
  std::error_code error;
  const std::string units = root + "/etc/systemd/system";
  fs::create_directories(root + "/usr/local/bin", error);
  fs::create_hard_link(program, root + "/usr/local/bin/dure", error);
  if (error) fs::copy_file(program, root + "/usr/local/bin/dure", fs::copy_options::overwrite_existing, error);
  fs::create_directories(units + "/multi-user.target.wants", error);
  for (const char* unit : kMasked) fs::create_symlink("/dev/null", units + "/" + unit, error);
  std::ofstream(units + "/dure-lab-guest.service") << kGuestUnit;
  fs::create_symlink("../dure-lab-guest.service", units + "/multi-user.target.wants/dure-lab-guest.service", error);
}

// As DMI shows it; the first digits are the machine-id's.
std::string uuid_of(const std::string& id) {
  return fmt::format("{}-{}-4{}-8{}-{}", id.substr(0, 8), id.substr(8, 4), id.substr(13, 3), id.substr(17, 3),
                     id.substr(20, 12));
}

// Paths without a folder are the node's own.
std::vector<std::string> qemu_words(const NodeSpec& node, const std::string& folder, const VmRoot& root,
                                    const Plug& plug, int tap) {
  std::vector<std::string> words{
      qemu_program, "-name", node.name, "-accel", "tcg,thread=multi,tb-size=256", "-smp", node.cpu, "-m",
      std::to_string(mebibytes(node.memory).value_or(1024)), "-uuid", uuid_of(machine_id(node, folder)), "-display",
      "none", "-nodefaults", "-no-user-config", "-rtc", "base=utc,clock=host", "-kernel", root.kernel, "-initrd",
      root.initrd, "-append",
      fmt::format("console=ttyS0 quiet mitigations=off net.ifnames=0 panic=5 dure.address={} dure.gateway={}",
                  plug.address.text(), plug.gateway.text()),
      "-drive", "file=" + root.image + ",format=raw,if=virtio,readonly=on",
      // What the guest wrote is safe once QEMU has it: the lab pulls plugs, the machine below it keeps running.
      "-drive", "file=disk.img,format=raw,if=virtio,cache=unsafe,discard=unmap", "-netdev",
      fmt::format("tap,id=lan,fd={}", tap), "-device",
      fmt::format("virtio-net-pci,id=nic,netdev=lan,mac={},romfile=", plug.mac.text()), "-device", "virtio-rng-pci",
      "-device", fmt::format("virtio-serial-pci,max_ports={}", guest_ports + 1), "-chardev",
      "file,id=console,path=var-log/console.log,append=on", "-serial", "chardev:console", "-monitor",
      "unix:monitor,server=on,wait=off"};
  for (int i = 0; i < guest_ports; ++i) {
    words.insert(words.end(),
                 {"-chardev", fmt::format("socket,id=port{},path={},server=on,wait=off", i, guest_socket(i)), "-device",
                  fmt::format("virtserialport,chardev=port{},name={}", i, guest_port_name(i))});
  }
  return words;
}

}  // namespace

Status make_vm_disk(const NodeSpec& node, const std::string& folder, const std::string& program,
                    const std::string& hosts) {
  const std::string disk = folder + "/disk.img", seed = folder + "/seed";
  std::error_code error;
  if (fs::exists(disk, error)) return {};
  fs::remove_all(seed, error);
  fs::create_directories(seed + "/root/etc", error);
  write_changes(seed + "/root", program);
  write_identity(seed + "/root", node, folder, hosts);
  const int64_t size = mebibytes(node.disk).value_or(8 << 10);
  Status made =
      run_maker({"mke2fs", "-q", "-t", "ext4", "-d", seed, disk, fmt::format("{}M", size)}, "e2fsprogs", "NoMke2fs");
  fs::remove_all(seed, error);
  return made;
}

int run_vm(const NodeSpec& node, const std::string& folder, const VmRoot& root, const Plug& plug, int control) {
  std::error_code ignored;
  fs::create_directories(folder + "/var-log", ignored);
  const int log = open((folder + "/var-log/qemu.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int tap = open_tap(plug.router_pid, plug.device);
  if (log < 0 || tap < 0 || chdir(folder.c_str()) != 0) return 1;
  fcntl(tap, F_SETFD, 0);  // QEMU inherits it
  for (int i = 0; i < guest_ports; ++i) unlink(guest_socket(i).c_str());
  if (write(control, "ready", 5) != 5) return 1;
  Command command{qemu_words(node, folder, root, plug, tap)};
  command.output = log;
  execute(command);
}

// A line to QEMU's monitor; it has obeyed when it prompts again.
Status set_vm_carrier(const std::string& folder, bool carrier) {
  const std::string path = folder + "/monitor";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(bad_request("the path " + path + " is too long for a socket"));
  memcpy(address.sun_path, path.c_str(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int why = errno;
    close(fd);
    return fail(from_errno("connect to " + path, why));
  }
  const std::string line = fmt::format("set_link nic {}\n", carrier ? "on" : "off");
  std::string said;
  bool sent = false, done = false;
  for (pollfd waiting{fd, POLLIN, 0}; !done && poll(&waiting, 1, 5000) == 1;) {
    char buffer[1024];
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n <= 0) break;
    said.append(buffer, static_cast<size_t>(n));
    if (!said.ends_with("(qemu) ")) continue;
    done = sent;
    said.clear();
    if (!sent) sent = write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  }
  close(fd);
  if (!done) return fail(Error{500, "LabNodeFailed", "QEMU does not answer on its monitor"});
  return {};
}

}  // namespace dure::lab
