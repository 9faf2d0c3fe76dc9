#include "lab/lab.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/text.h"
#include "lab/cgroup.h"
#include "lab/control.h"
#include "lab/guest.h"
#include "lab/process.h"
#include "lab/skew.h"
#include "lab/verbs.h"
#include "lab/vm.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kDiskBytesMin = 600ull << 20;

// Held by the supervisor for its whole life. -1: somebody else holds it.
int take_lock(const std::string& folder) {
  const int fd = open((folder + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  close(fd);
  return -1;
}

// Its own word for it: a process that was frozen when its supervisor was killed still holds a copy of the lock.
bool supervisor_lives(const std::string& folder) {
  const auto state = read_state(folder);
  return state && kill(state->supervisor_pid, 0) == 0;
}

// As take_lock, also from the remains of a dead supervisor, which go when they thaw.
int take_over(const std::string& id) {
  const std::string folder = lab_folder(id);
  int lock = take_lock(folder);
  if (lock >= 0 || supervisor_lives(folder)) return lock;
  if (const auto groups = hierarchies()) remove_groups(*groups, id, 1);
  for (int i = 0; i < 50 && (lock = take_lock(folder)) < 0; ++i) usleep(100'000);
  return lock;
}

bool on_path(const std::string& program) {
  const char* path = getenv("PATH");
  for (std::string_view folder : split(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin", ':'))
    if (access((std::string(folder) + "/" + program).c_str(), X_OK) == 0) return true;
  return false;
}

// Lines the supervisor writes into the pipe while it builds.
Status follow(int pipe, const Progress& progress) {
  std::string pending, last_error;
  char buffer[4096];
  while (true) {
    const ssize_t n = read(pipe, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return fail(Error{500, "LabFailed", last_error.empty() ? "the lab's supervisor ended unexpectedly" : last_error});
    pending.append(buffer, static_cast<size_t>(n));
    for (size_t at; (at = pending.find('\x1e')) != std::string::npos; pending.erase(0, at + 1)) {
      const std::string line = pending.substr(0, at);
      if (line == "up") return {};
      if (line.starts_with("error: "))
        last_error = line.substr(7);
      else
        progress(line);
    }
  }
}

// In a fresh session, with the lock, without the caller's terminal.
[[noreturn]] void become_supervisor(const LabSpec& spec, int lock, int pipe) {
  setsid();
  const int log = open((spec.folder + "/supervisor.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (chdir("/") != 0) _exit(1);
  signal(SIGPIPE, SIG_IGN);
  bool reporting = true;
  const int status = supervise(spec, [&](const std::string& line) {
    dprintf(STDOUT_FILENO, "%s\n", line.c_str());
    if (!reporting) return;
    const std::string record = line + "\x1e";
    if (write(pipe, record.data(), record.size()) < 0) reporting = false;
    if (line == "up") {
      close(pipe);
      reporting = false;
    }
  });
  close(lock);
  _exit(status);
}

Status remove_remains(const std::string& id) {
  DURE_TRY(const auto groups, hierarchies());
  const int left = remove_groups(groups, id, 20);
  std::error_code error;
  fs::remove_all(lab_folder(id), error);
  if (left > 0 || error)
    return fail(Error{500, "LabNotClean",
                      "some of lab \"" + id + "\" could not be removed: " +
                          (left ? std::to_string(left) + " cgroup folders are busy" : error.message()),
                      "dure lab down " + id});
  return {};
}

// Of a node's pid 1, or of a router.
Result<int> pid_of(const std::string& id, const LabState& state, const std::string& name) {
  std::string names;
  for (const auto& node : state.nodes) {
    if (node.name == name && node.pid > 0) return node.pid;
    if (node.name == name) return fail(Error{409, "NotPossible", name + " is switched off", "dure lab start " + name});
    names += (names.empty() ? "" : ", ") + node.name;
  }
  for (const auto& router : state.routers) {
    if (router.name == name) return router.pid;
    names += ", " + router.name;
  }
  return fail(Error{404, "NoSuchNode", "lab \"" + id + "\" has no node \"" + name + "\"; it has " + names});
}

Status check_for_vms() {
  if (!kVmArchitecture)
    return fail(
        Error{501, "NoVirtualMachines", "nodes of kind vm are there on amd64 only, so far", "use kind: systemd"});
  if (!on_path(qemu_program))
    return fail(Error{500, "NoQemu", std::string("nodes of kind vm need ") + qemu_program + ", which is not installed",
                      "apt install qemu-system-x86"});
  if (!on_path("mke2fs"))
    return fail(
        Error{500, "NoMke2fs", "nodes of kind vm need mke2fs, which is not installed", "apt install e2fsprogs"});
  if (access("/dev/net/tun", R_OK | W_OK) != 0)
    return fail(Error{500, "NoTun", "nodes of kind vm need /dev/net/tun, which is not there", "modprobe tun"});
  return {};
}

}  // namespace

std::string lab_folder(const std::string& id) {
  const char* root = getenv("DURE_LAB_FOLDER");
  return std::string(root ? root : "/var/lib/dure-lab") + "/" + id;
}

Status check_machine(const LabSpec& spec) {
  if (geteuid() != 0)
    return fail(Error{403, "NotRoot", "a lab needs root: it makes network namespaces and starts containerd",
                      "sudo dure lab up"});
  for (const char* program : {"containerd", "runc"})
    if (!on_path(program))
      return fail(
          Error{500, "NoContainerRuntime", std::string(program) + " is not installed", "apt install containerd runc"});
  if (!on_path("nft"))
    return fail(Error{500, "NoNftables", "nft is not installed; the lab's routers need it", "apt install nftables"});
  for (const SiteSpec& site : spec.topology.sites)
    if (!site.cable.plain() && access("/dev/net/tun", R_OK | W_OK) != 0)
      return fail(
          Error{500, "NoTun", "the cable of " + site.name + " needs /dev/net/tun, which is not there", "modprobe tun"});
  for (const NodeSpec& node : spec.topology.nodes)
    if (node.kind == NodeKind::vm) DURE_CHECK(check_for_vms());
  auto child = clone_child(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC, [] { return 0; });
  if (!child)
    return fail(Error{500, "NoNamespaces",
                      "this machine does not allow new namespaces (" + child.error().message +
                          "); inside a container, run it with --privileged"});
  wait_for(*child);
  std::error_code ignored;
  fs::create_directories(spec.folder, ignored);
  struct statvfs disk{};
  if (statvfs(spec.folder.c_str(), &disk) == 0 && disk.f_bavail * disk.f_frsize < kDiskBytesMin)
    return fail(Error{507, "DiskTooSmall",
                      "a lab needs 600 MB under " + spec.folder + ", only " +
                          std::to_string(disk.f_bavail * disk.f_frsize >> 20) + " MB are free",
                      "set DURE_LAB_FOLDER to a larger disk"});
  return {};
}

Result<UpResult> up(const LabSpec& spec, const Progress& progress) {
  DURE_CHECK(check_machine(spec));
  const int lock = take_over(spec.id);
  if (lock < 0) {
    DURE_TRY(LabState state, status(spec.id));
    return UpResult{std::move(state), true};
  }
  DURE_TRY(const auto groups, hierarchies());
  remove_groups(groups, spec.id, 20);
  std::error_code ignored;
  fs::remove_all(spec.folder + "/nodes", ignored);
  LabSpec running = spec;
  fs::create_directories(spec.folder + "/bin", ignored);
  running.binary = spec.folder + "/bin/dure";
  fs::copy_file(spec.binary, running.binary, fs::copy_options::overwrite_existing, ignored);
  if (ignored) return fail(Error{500, "LabFailed", "cannot copy " + spec.binary + ": " + ignored.message()});

  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return fail(from_errno("pipe", errno));
  const int pid = fork();
  if (pid < 0) return fail(from_errno("fork", errno));
  if (pid == 0) {
    close(report[0]);
    become_supervisor(running, lock, report[1]);
  }
  close(report[1]);
  close(lock);
  Status followed = follow(report[0], progress);
  close(report[0]);
  if (!followed) {
    wait_for(pid);
    return fail(followed.error());
  }
  DURE_TRY(LabState state, status(spec.id));
  return UpResult{std::move(state), false};
}

Status down(const std::string& id, const Progress& progress) {
  const std::string folder = lab_folder(id);
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) {
    progress("lab \"" + id + "\" is not there");
    return {};
  }
  int lock = take_over(id);
  if (lock < 0) {
    auto state = read_state(folder);
    if (!state) return fail(std::move(state.error()));
    kill(state->supervisor_pid, SIGTERM);
    for (int i = 0; i < 300 && (lock = take_lock(folder)) < 0; ++i) usleep(100'000);
    if (lock < 0)
      return fail(
          Error{500, "LabNotEnding",
                "the supervisor of lab \"" + id + "\" (pid " + std::to_string(state->supervisor_pid) + ") does not end",
                "kill -9 " + std::to_string(state->supervisor_pid) + " && dure lab down " + id});
  }
  Status removed = remove_remains(id);
  close(lock);
  if (removed) progress("lab \"" + id + "\" is gone");
  return removed;
}

Result<LabState> status(const std::string& id) {
  const std::string folder = lab_folder(id);
  std::error_code ignored;
  const int lock = fs::exists(folder, ignored) ? take_lock(folder) : 0;
  if (lock >= 0 || !supervisor_lives(folder)) {
    if (lock > 0) close(lock);
    return fail(Error{404, "LabNotRunning", "lab \"" + id + "\" is not running", "dure lab up"});
  }
  return read_state(folder);
}

Result<std::string> change(const std::string& id, const std::vector<std::string>& words) {
  DURE_CHECK(check_verb(words));
  DURE_TRY([[maybe_unused]] const LabState state, status(id));
  return ask_control(lab_folder(id), words);
}

Result<int> exec(const std::string& id, const std::string& node, const std::vector<std::string>& arguments) {
  DURE_TRY(const LabState state, status(id));
  DURE_TRY(const int pid, pid_of(id, state, node));
  if (const LabState::Node* found = state.node(node); found && found->kind == "vm") {
    GuestCommand command{
        arguments, {"KUBECONFIG=/etc/kubernetes/admin.conf"}, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    command.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    command.start_within = 60s;
    command.alive = [pid] { return !has_ended(pid); };
    return run_in_guest(lab_folder(id) + "/nodes/" + node, command);
  }
  Command command;
  command.arguments = arguments;
  const LabState::Node* found = state.node(node);
  if (const size_t at = found ? found->condition.find("skew=") : std::string::npos; at != std::string::npos) {
    DURE_TRY(command.environment, skewed_environment(std::string_view(found->condition).substr(at + 5)));
  }
  command.environment.emplace_back("KUBECONFIG", "/etc/kubernetes/admin.conf");
  return run_inside(pid, command);
}

}  // namespace dure::lab
