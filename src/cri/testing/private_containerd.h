// A containerd of our own for tests: in its own process, mount, network, uts and ipc namespaces, with its own folders,
// a bridge network made by a few lines of shell, and no trace afterwards. The machine's network and its own containerd
// are never touched.
//
// A test asks `run_inside("DISABLED_Suite.*")`: the test program runs again inside of such namespaces (as a child of a
// shell that is pid 1 there) with that filter; the suite is disabled so that it runs nowhere else. Inside, `PrivateContainerd` starts and kills containerd itself.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "os/proc.h"

namespace dure::cri::testing {

// Empty when a private containerd can run here, otherwise why not.
inline std::string why_not() {
  if (::geteuid() != 0) return "not root";
  for (const char* tool : {"containerd", "runc", "ctr", "ip", "unshare"}) {
    os::ProcessSpec spec;
    spec.argv = {"sh", "-c", std::string("command -v ") + tool + " >/dev/null"};
    auto output = os::run_command(std::move(spec));
    if (!output || !output->exit.ok()) return std::string("no ") + tool;
  }
  if (!std::filesystem::exists("/bin/busybox") && !std::filesystem::exists("/usr/bin/busybox"))
    return "no busybox-static";
  return {};
}

inline std::string cgroup_name(pid_t pid) { return "dure-test-" + std::to_string(pid); }

inline void remove_cgroups(const std::string& name) {
  for (int tries = 0; tries < 20; ++tries) {
    os::ProcessSpec spec;
    spec.argv = {"sh", "-c",
                 "for m in /sys/fs/cgroup /sys/fs/cgroup/*; do [ -d $m/" + name + " ] && find $m/" + name +
                     " -depth -type d -exec rmdir {} + 2>/dev/null; done; ls -d /sys/fs/cgroup/" + name +
                     " /sys/fs/cgroup/*/" + name + " 2>/dev/null | wc -l"};
    auto output = os::run_command(std::move(spec));
    if (output && output->out.starts_with("0")) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// Runs this program again inside of namespaces; true when it ended well. Prints what it said otherwise.
inline bool run_inside(const std::string& filter, Duration timeout = 5min) {
  char folder[] =
      "/tmp/dure-containerd-"
      "XX"
      "XX"
      "XX";
  if (!::mkdtemp(folder)) return false;
  const std::string cgroup = cgroup_name(::getpid());
  const std::string setup =
      "mount -t tmpfs tmpfs /run && mkdir -p /run/netns && ip link set lo up && ip link add cni0 type bridge && "
      "ip link set cni0 address 02:00:00:00:00:01 up && ip addr add 10.99.0.1/24 dev cni0 && "
      "\"$@\"; exit $?";
  os::ProcessSpec spec;
  spec.argv = {"unshare",
               "--mount",
               "--net",
               "--pid",
               "--uts",
               "--ipc",
               "--fork",
               "--kill-child",
               "--mount-proc",
               "--propagation",
               "private",
               "sh",
               "-c",
               setup,
               "sh",
               std::filesystem::read_symlink("/proc/self/exe").string(),
               "--gtest_also_run_disabled_tests",
               "--gtest_filter=" + filter};
  std::vector<std::string> env;
  for (char** e = environ; *e; ++e) env.emplace_back(*e);
  env.push_back("DURE_INSIDE_NAMESPACES=" + std::string(folder));
  env.push_back("DURE_TEST_CGROUP=/" + cgroup);
  env.push_back("GTEST_OUTPUT=");
  spec.env = env;
  spec.parent_death_signal = SIGKILL;
  auto output = os::run_command(std::move(spec), {}, timeout);
  std::error_code ignored;
  remove_cgroups(cgroup);
  std::filesystem::remove_all(folder, ignored);
  if (!output) {
    std::fprintf(stderr, "%s\n", output.error().message.c_str());
    return false;
  }
  const bool well = output->exit.ok();
  if (!well || std::getenv("DURE_TEST_VERBOSE"))
    std::fprintf(stderr, "%s%s", output->out.c_str(), output->err.c_str());
  else
    for (size_t at = 0; (at = output->out.find("figure:", at)) != std::string::npos; ++at)
      std::fprintf(stderr, "%s\n", output->out.substr(at, output->out.find('\n', at) - at).c_str());
  return well;
}

class PrivateContainerd {
 public:
  explicit PrivateContainerd(const std::string& sandbox_image) : folder(std::getenv("DURE_INSIDE_NAMESPACES")) {
    write("cni/bin/testnet", plugin(), 0755);
    write("cni/bin/loopback", plugin(), 0755);
    write("cni/net.d/10-test.conflist", R"({"cniVersion":"0.4.0","name":"test","plugins":[{"type":"testnet"}]})", 0644);
    write("config.toml", config(sandbox_image), 0644);
    start();
  }
  ~PrivateContainerd() { kill(); }

  std::string endpoint() const { return "unix://" + folder + "/containerd.sock"; }

  void start() {
    os::ProcessSpec spec;
    spec.argv = {"containerd", "--config", folder + "/config.toml"};
    spec.parent_death_signal = SIGKILL;
    log_ = ::open((folder + "/containerd.log").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    spec.descriptors = {{1, log_}, {2, log_}};
    auto child = os::spawn(spec);
    ASSERT_TRUE(child) << child.error().message;
    process_ = std::move(*child);
    for (int i = 0; i < 200 && !answers(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  // As a crash would.
  void kill() {
    if (!process_) return;
    (void)process_->kill(SIGKILL);
    (void)process_->wait();
    process_.reset();
    ::close(log_);
  }
  std::string log() const {
    std::ifstream in(folder + "/containerd.log");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const std::string folder;

 private:
  bool answers() const {
    os::ProcessSpec spec;
    spec.argv = {"ctr", "--address", folder + "/containerd.sock", "version"};
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    spec.descriptors = {{1, null}, {2, null}};
    auto output = os::run_command(std::move(spec), {}, 5s);
    ::close(null);
    return output && output->exit.ok();
  }

  void write(const std::string& path, const std::string& text, int mode) const {
    const std::filesystem::path full = folder + "/" + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
    ::chmod(full.c_str(), static_cast<mode_t>(mode));
  }

  std::string plugin() const {
    return "#!/bin/sh\n"
           "# The CNI of the tests: a veth pair into bridge cni0, addresses in turn.\n"
           "conf=$(cat); ns=${CNI_NETNS##*/}; type=${0##*/}\n"
           "case $CNI_COMMAND in\n"
           "VERSION) echo '{\"cniVersion\":\"0.4.0\",\"supportedVersions\":[\"0.3.1\",\"0.4.0\"]}';;\n"
           "ADD)\n"
           "  if [ $type = loopback ]; then ip -n $ns link set lo up\n"
           "    echo "
           "'{\"cniVersion\":\"0.3.1\",\"interfaces\":[{\"name\":\"lo\",\"sandbox\":\"'$CNI_NETNS'\"}],\"ips\":[{"
           "\"version\":\"4\",\"address\":\"127.0.0.1/8\",\"interface\":0}]}'; exit 0; fi\n"
           "  while ! mkdir " +
           folder +
           "/cni.lock 2>/dev/null; do sleep 0.01; done\n"
           "  n=$(cat " +
           folder + "/cni.next 2>/dev/null || echo 2); echo $((n + 1)) > " + folder + "/cni.next; rmdir " + folder +
           "/cni.lock\n"
           "  ip link add v$n type veth peer name eth0 netns $ns && ip link set v$n master cni0 up && ip -n $ns link "
           "set eth0 up\n"
           "  ip -n $ns addr add 10.99.0.$n/24 dev eth0 && ip -n $ns route add default via 10.99.0.1\n"
           "  echo "
           "'{\"cniVersion\":\"0.4.0\",\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"'$CNI_NETNS'\"}],\"ips\":[{"
           "\"version\":\"4\",\"address\":\"10.99.0.'$n'/24\",\"gateway\":\"10.99.0.1\",\"interface\":0}]}';;\n"
           "DEL) [ $type = loopback ] || ip -n $ns link del eth0 2>/dev/null; exit 0;;\n"
           "esac\n";
  }

  std::string config(const std::string& sandbox_image) const {
    std::string out =
        "version = 2\nroot = \"" + folder + "/root\"\nstate = \"" + folder +
        "/state\"\noom_score = 0\n"
        "disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\", "
        "\"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\", "
        "\"io.containerd.tracing.processor.v1.otlp\", "
        "\"io.containerd.internal.v1.tracing\"]\n"
        "[grpc]\naddress = \"" +
        folder +
        "/containerd.sock\"\n"
        "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"" +
        sandbox_image +
        "\"\nrestrict_oom_score_adj = true\n"
        "disable_apparmor = true\ndisable_hugetlb_controller = true\ntolerate_missing_hugetlb_controller = true\n"
        "[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"" +
        folder + "/cni/bin\"\nconf_dir = \"" + folder +
        "/cni/net.d\"\n"
        "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n"
        "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\nSystemdCgroup = false\n"
        "[plugins.\"io.containerd.internal.v1.opt\"]\npath = \"" +
        folder + "/opt\"\n";
    return out;
  }

  std::unique_ptr<os::Process> process_;
  int log_ = -1;
};

}  // namespace dure::cri::testing
