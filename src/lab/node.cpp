#include "lab/node.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "lab/identity.h"
#include "lab/process.h"
#include "lab/systemd_root.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

class SetUp {
 public:
  explicit SetUp(const NodeInit& init) : init_(init) {}

  bool run() {
    return step("mount propagation", mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr)) &&
           step("sethostname", sethostname(init_.node.name.c_str(), init_.node.name.size())) &&
           (init_.root.empty() ? folders() && kernel_views() : own_root()) && cgroups();
  }

 private:
  bool step(const char* what, int result) {
    if (result == 0) return true;
    fprintf(stderr, "lab node %s: %s: %s\n", init_.node.name.c_str(), what, strerror(errno));
    return false;
  }

  std::string folder(const std::string& name) {
    const std::string path = init_.state + "/" + name;
    std::error_code ignored;
    fs::create_directories(path, ignored);
    return path;
  }

  bool bind(const std::string& name, const char* target) {
    return step(target, mount(folder(name).c_str(), target, nullptr, MS_BIND, nullptr));
  }

  // /etc and /usr/local are the machine's with the node's own changes on top.
  bool overlay(const std::string& name, const char* target) {
    const std::string options =
        std::string("lowerdir=") + target + ",upperdir=" + folder(name) + ",workdir=" + folder(name + ".work");
    return step(target, mount("overlay", target, "overlay", 0, options.c_str()));
  }

  // A hard link keeps one copy of the program in the page cache for all nodes; it is made in the overlay's upper layer
  // before the overlay is mounted.
  void link_program() {
    std::error_code error;
    const std::string target = folder("usr-local/bin") + "/dure";
    fs::remove(target, error);
    fs::create_hard_link(init_.binary, target, error);
    if (error) fs::copy_file(init_.binary, target, fs::copy_options::overwrite_existing, error);
  }

  bool folders() {
    link_program();
    // /var/lib comes last: the lab's own folder may lie below it and is out of reach from then on.
    if (!overlay("etc", "/etc") || !overlay("usr-local", "/usr/local") || !bind("var-log", "/var/log") ||
        !bind("opt", "/opt") || !bind("var-lib", "/var/lib"))
      return false;
    for (const char* path : {"/var/lib/containerd", "/usr/local/bin"}) fs::create_directories(path);
    if (!step("/run", mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m")) ||
        !step("/tmp", mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=512m")))
      return false;
    identity();
    return true;
  }

  bool own_root() {
    if (!enter_systemd_root(init_.root, init_.state, init_.binary)) return false;
    identity();
    return true;
  }

  void identity() {
    write_identity("", init_.node, init_.state, init_.hosts);
    // Nodes share the machine's DMI; whoever compares product UUIDs must know that this is no machine of its own.
    fs::create_directories("/run/host");
    std::ofstream("/run/host/container-manager") << "dure-lab\n";
  }

  bool kernel_views() {
    return step("/proc", mount("proc", "/proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, nullptr)) &&
           step("/sys", mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, nullptr)) &&
           step("/dev/shm", mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m"));
  }

  // With the cgroup namespace each mount shows the node's own group as its root.
  bool cgroups() {
    if (init_.groups.size() == 1 && init_.groups[0].v2())
      return step("/sys/fs/cgroup", mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, nullptr));
    if (!step("/sys/fs/cgroup", mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "mode=755"))) return false;
    for (const Hierarchy& hierarchy : init_.groups) {
      const std::string target = "/sys/fs/cgroup/" + fs::path(hierarchy.mount).filename().string();
      mkdir(target.c_str(), 0755);
      const bool named = hierarchy.controllers.starts_with("name=");
      const std::string options = named ? "none," + hierarchy.controllers : hierarchy.controllers;
      const int result = hierarchy.v2() ? mount("cgroup2", target.c_str(), "cgroup2", 0, nullptr)
                                        : mount("cgroup", target.c_str(), "cgroup", 0, options.c_str());
      if (!step(target.c_str(), result)) return false;
    }
    return true;
  }

  const NodeInit& init_;
};

struct Service {
  std::string name;
  Command command;
  int pid = 0;
  int64_t start_at = 0;  // monotonic milliseconds; when dead
};

int64_t now_milliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Starts, reaps, starts again one second after a death.
class Services {
 public:
  void serve(int control) {
    std::string pending;
    while (true) {
      pollfd waiting{control, POLLIN, 0};
      poll(&waiting, 1, 100);
      if (waiting.revents & (POLLIN | POLLHUP)) {
        char buffer[4096];
        const ssize_t n = read(control, buffer, sizeof buffer);
        if (n <= 0) return;  // the supervisor is gone
        pending.append(buffer, static_cast<size_t>(n));
        for (size_t at; (at = pending.find('\n')) != std::string::npos; pending.erase(0, at + 1))
          obey(pending.substr(0, at));
      }
      reap();
      for (Service& service : services_)
        if (service.pid == 0 && now_milliseconds() >= service.start_at) start(service);
    }
  }

 private:
  void obey(const std::string& line) {
    const auto words = split(line, '\t');
    if (words.size() < 2) return;
    if (words[0] == "start") return add(words);
    for (Service& service : services_) {
      if (service.name != words[1]) continue;
      if (words[0] == "set") set(service, words);
      if (service.pid > 0)
        kill(service.pid, words[0] == "signal" ? static_cast<int>(parse_int(words[2]).value_or(0)) : SIGTERM);
    }
  }

  static void set(Service& service, const std::vector<std::string_view>& words) {
    service.command.environment.clear();
    for (size_t i = 2; i < words.size(); ++i)
      if (const size_t at = words[i].find('='); at != std::string_view::npos)
        service.command.environment.emplace_back(words[i].substr(0, at), words[i].substr(at + 1));
  }

  void add(const std::vector<std::string_view>& words) {
    Service service;
    service.name = words[1];
    for (size_t i = 2; i < words.size(); ++i) service.command.arguments.emplace_back(words[i]);
    const std::string log = "/var/log/" + service.name + ".log";
    service.command.output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    services_.push_back(std::move(service));
  }

  void start(Service& service) {
    auto pid = spawn(service.command);
    if (pid) service.pid = *pid;
    service.start_at = now_milliseconds() + 1000;
  }

  void reap() {
    int status;
    for (int pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      for (Service& service : services_)
        if (service.pid == pid) {
          dprintf(service.command.output, "-- %s ended (%s %d); starting it again in a second\n", service.name.c_str(),
                  WIFSIGNALED(status) ? "signal" : "status",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
          service.pid = 0;
          service.start_at = now_milliseconds() + 1000;
        }
  }

  std::vector<Service> services_;
};

}  // namespace

int run_node(const NodeInit& init) {
  prctl(PR_SET_NAME, "dure-node");
  signal(SIGPIPE, SIG_IGN);
  clean_environment();
  if (!SetUp(init).run()) return 1;
  if (chdir("/") != 0) return 1;
  umask(022);
  if (write(init.control, "ready", 5) != 5) return 1;
  if (!init.root.empty()) {
    become_systemd();
    return 1;
  }
  Services().serve(init.control);
  return 0;
}

}  // namespace dure::lab
