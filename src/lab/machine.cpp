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
#include "lab/node.h"
#include "lab/process.h"

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

Status Machine::switch_on(int init_pid, const std::string& hosts, const std::string& root) {
  std::error_code ignored;
  fs::create_directories(folder_, ignored);
  DURE_CHECK(make_groups(groups_, lab_.id, spec_.name));
  int control[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0) return fail(from_errno("socketpair", errno));
  const int on = 1;
  setsockopt(control[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  DURE_TRY(launcher_, clone_child(0, [&] { return launch(init_pid, control[1], hosts, root); }));
  close(control[1]);
  control_ = control[0];
  DURE_TRY(pid_, await_ready());
  return {};
}

// In a child that is already inside the lab's pid namespace: pid 1 of the node is its child and dies with it.
int Machine::launch(int init_pid, int control, const std::string& hosts, const std::string& root) const {
  prctl(PR_SET_NAME, "dure-lab-node");
  unblock_signals();
  if (!enter_groups(groups_, lab_.id, spec_.name)) return 1;
  if (!join_namespaces(init_pid, {"net", "uts", "ipc", "mnt"})) return 1;
  const int log = open((folder_ + "/init.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  auto pid = clone_child(kNodeNamespaces, [&] {
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    return run_node({spec_, folder_, lab_.binary, root, hosts, groups_, control});
  });
  close(control);
  return pid ? wait_for(*pid) : 1;
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

Status Machine::await_containerd() const {
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
  Command command;
  command.arguments = arguments;
  command.output = output;
  DURE_TRY(const int status, run_inside(pid_, command));
  close(output);
  std::string text = text_of(log);
  if (status != 0)
    return fail(Error{
        500, "LabNodeFailed",
        "on " + spec_.name + ", `" + join(arguments, " ") + "` ended with " + std::to_string(status) + ":\n" + text});
  return text;
}

void Machine::write_hosts(const std::string& hosts) const {
  const std::string root = "/proc/" + std::to_string(pid_) + "/root/etc/hosts";
  std::ofstream(root) << node_hosts(spec_, hosts);
}

}  // namespace dure::lab
