#include "lab/machine.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "lab/guest.h"
#include "lab/identity.h"
#include "lab/node.h"
#include "lab/process.h"
#include "lab/vm.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;
constexpr int kNodeNamespaces =
    CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;

void unblock_signals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

}  // namespace

Machine::Machine(const LabSpec& lab, const NodeSpec& spec, const std::vector<Hierarchy>& groups)
    : lab_(lab), spec_(spec), groups_(groups), folder_(lab.folder + "/nodes/" + spec.name) {}

Status Machine::switch_on(const Ground& ground, const Plug& plug) {
  std::error_code ignored;
  fs::create_directories(folder_, ignored);
  DURE_CHECK(make_groups(groups_, lab_.id, spec_.name));
  if (vm()) {
    skew.clear();  // its clock was of the machine that was switched off
    DURE_CHECK(make_vm_disk(spec_, folder_, lab_.binary, ground.hosts));
  }
  int control[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0) return fail(from_errno("socketpair", errno));
  const int on = 1;
  setsockopt(control[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  DURE_TRY(launcher_,
           clone_child(0, [&] { return vm() ? launch_vm(ground, plug, control[1]) : launch(ground, control[1]); }));
  close(control[1]);
  control_ = control[0];
  DURE_TRY(pid_, await_ready());
  return {};
}

// In a child that is already inside the lab's pid namespace: pid 1 of the node is its child and dies with it.
int Machine::launch(const Ground& ground, int control) const {
  prctl(PR_SET_NAME, "dure-lab-node");
  unblock_signals();
  if (!enter_groups(groups_, lab_.id, spec_.name)) return 1;
  if (!join_namespaces(ground.init_pid, {"net", "uts", "ipc", "mnt"})) return 1;
  const int log = open((folder_ + "/init.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const std::string root = spec_.kind == NodeKind::systemd ? ground.systemd_root : "";
  auto pid = clone_child(kNodeNamespaces, [&] {
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    return run_node({spec_, folder_, lab_.binary, root, ground.hosts, groups_, control});
  });
  close(control);
  return pid ? wait_for(*pid) : 1;
}

// In a child that becomes QEMU.
int Machine::launch_vm(const Ground& ground, const Plug& plug, int control) const {
  unblock_signals();
  if (!enter_groups(groups_, lab_.id, spec_.name)) return 1;
  return run_vm(spec_, folder_, ground.vm_root, plug, control);
}

// "ready" with the sender's pid as this process counts it.
Result<int> Machine::await_ready() const {
  pollfd waiting{control_, POLLIN, 0};
  char text[16], space[CMSG_SPACE(sizeof(ucred))];
  iovec part{text, sizeof text};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  if (poll(&waiting, 1, 10'000) <= 0 || recvmsg(control_, &message, 0) < 5)
    return fail(Error{500, "LabNodeFailed", "node " + spec_.name + " did not start; see " + folder_ + "/init.log"});
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
    if (c->cmsg_type == SCM_CREDENTIALS) {
      ucred who;
      memcpy(&who, CMSG_DATA(c), sizeof who);
      return who.pid;
    }
  return fail(internal("no credentials came with the node's message"));
}

void Machine::switch_off() {
  if (!on()) return;
  if (frozen_ && !freeze(false)) frozen_ = false;
  kill(pid_, SIGKILL);
  wait_for(launcher_);
  close(control_);
  control_ = -1;
  pid_ = 0;
  remove_groups(groups_, lab_.id, 20, spec_.name);
}

void Machine::add_service(const std::string& name, const std::vector<std::string>& arguments) {
  services_.push_back({name, arguments});
  if (systemd()) return start_unit(services_.back());
  order("start\t" + name + "\t" + join(arguments, "\t"));
}

// containerd has a unit of its own there; dure's are transient ones, until something installs others.
void Machine::start_unit(const Service& service) const {
  if (service.name == "containerd") return;
  std::vector<std::string> words{"systemd-run", "--quiet", "--unit=" + service.name, "--property=Restart=always",
                                 "--property=RestartSec=1"};
  for (const std::string& pair : environment_)
    if (!pair.empty()) words.push_back("--setenv=" + pair);
  words.insert(words.end(), service.arguments.begin(), service.arguments.end());
  control_unit(words);
}

void Machine::control_unit(const std::vector<std::string>& words) const {
  if (auto done = inside(words); !done) dprintf(STDOUT_FILENO, "%s\n", done.error().message.c_str());
}

void Machine::start_services() {
  for (const Service& service : services_)
    if (systemd())
      start_unit(service);
    else
      order("start\t" + service.name + "\t" + join(service.arguments, "\t"));
  if (!systemd() && !environment_.empty()) set_environment(environment_);
}

bool Machine::has_service(const std::string& name) const {
  for (const Service& service : services_)
    if (service.name == name) return true;
  return false;
}

void Machine::send_signal(const std::string& service, int number) {
  if (systemd()) return control_unit({"systemctl", "kill", "--signal=" + std::to_string(number), service});
  order("signal\t" + service + "\t" + std::to_string(number));
}

void Machine::set_environment(const std::vector<std::string>& pairs) {
  environment_ = pairs;
  for (const Service& service : services_)
    if (service.name.starts_with("dure") && systemd()) {
      control_unit({"systemctl", "stop", service.name});
      start_unit(service);
    } else if (service.name.starts_with("dure")) {
      order("set\t" + service.name + "\t" + join(pairs, "\t"));
    }
}

void Machine::order(const std::string& line) const {
  const std::string bytes = line + "\n";
  if (send(control_, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0)
    dprintf(STDOUT_FILENO, "node %s does not listen\n", spec_.name.c_str());
}

Status Machine::freeze(bool frozen) {
  DURE_CHECK(freeze_groups(groups_, lab_.id, spec_.name, frozen));
  frozen_ = frozen;
  return {};
}

Status Machine::set_carrier(bool carrier) const { return set_vm_carrier(folder_, carrier); }

Status Machine::set_address(const Plug& plug) const {
  DURE_CHECK(inside({"ip", "-4", "address", "flush", "dev", "eth0"}));
  DURE_CHECK(inside({"ip", "address", "add", plug.address.text(), "dev", "eth0"}));
  DURE_CHECK(inside({"ip", "route", "replace", "default", "via", plug.gateway.text(), "dev", "eth0", "proto", "dhcp"}));
  return {};
}

Status Machine::set_clock(Duration ahead) const {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(ahead).count();
  DURE_CHECK(inside({"date", "-s", "@" + std::to_string(time(nullptr) + seconds)}));
  return {};
}

Status Machine::await_containerd() const {
  if (vm()) {
    DURE_CHECK(inside({"sh", "-c", "until [ -S /run/containerd/containerd.sock ]; do sleep 0.2; done"}));
    return {};
  }
  const std::string path = "/proc/" + std::to_string(pid_) + "/root/run/containerd/containerd.sock";
  for (int i = 0; i < 300; ++i) {
    if (access(path.c_str(), F_OK) == 0) return {};
    usleep(50'000);
  }
  return fail(Error{500, "LabNodeFailed",
                    "containerd of " + spec_.name + " did not start; see " + folder_ + "/var-log/containerd.log"});
}

Result<std::string> Machine::inside(const std::vector<std::string>& arguments) const {
  const std::string log = folder_ + "/var-log/bootstrap.log";
  const int output = open(log.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (output < 0) return fail(from_errno("open " + log, errno));
  const auto status = run(arguments, output);
  close(output);
  if (!status) return fail(Error(status.error()).with_context(spec_.name));
  std::string text = text_of(log);
  if (*status != 0)
    return fail(Error{
        500, "LabNodeFailed",
        "on " + spec_.name + ", `" + join(arguments, " ") + "` ended with " + std::to_string(*status) + ":\n" + text});
  return text;
}

Result<int> Machine::run(const std::vector<std::string>& arguments, int output) const {
  if (!vm()) {
    Command command{arguments};
    command.output = output;
    return run_inside(pid_, command);
  }
  if (frozen_) return fail(Error{409, "NotPossible", "it is frozen", "dure lab thaw " + spec_.name});
  GuestCommand command{arguments};
  command.output = command.errors = output;
  command.end_within = 120s;
  command.alive = [this] { return !has_ended(launcher_); };
  auto status = run_in_guest(folder_, command);
  if (!status) status.error().message += "; see " + folder_ + "/var-log/console.log";
  return status;
}

void Machine::write_hosts(const std::string& hosts) const {
  const std::string text = node_hosts(spec_, hosts);
  if (!vm())
    std::ofstream("/proc/" + std::to_string(pid_) + "/root/etc/hosts") << text;
  else if (!frozen_)
    if (auto done = inside({"sh", "-c", "printf %s \"$1\" > /etc/hosts", "sh", text}); !done)
      dprintf(STDOUT_FILENO, "%s\n", done.error().message.c_str());
}

}  // namespace dure::lab
