#include "lab/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "lab/cgroup.h"
#include "lab/forwarder.h"
#include "lab/network.h"
#include "lab/node.h"
#include "lab/process.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;
constexpr int kNodeNamespaces =
    CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
constexpr int kApiPort = 6443;

// Pid 1 of the lab: reaps and waits to be killed.
int lab_init() {
  prctl(PR_SET_NAME, "dure-lab-init");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 1;
  signal(SIGCHLD, SIG_DFL);
  while (true) {
    if (waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) pause();
  }
}

// Killed, though perhaps not reapable yet.
bool is_dead(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t at = text.rfind(')');
  return at == std::string::npos || at + 2 >= text.size() || text[at + 2] == 'Z' || text[at + 2] == 'X';
}

struct RunningNode {
  NodeSpec spec;
  int pid = 0, control = -1;
  std::string folder;
};

class Supervisor {
 public:
  Supervisor(const LabSpec& spec, const Progress& progress) : spec_(spec), progress_(progress) {}

  int run() {
    block_signals();
    Status built = build();
    if (!built) {
      progress_("error: " + built.error().message);
      end(true);
      return 1;
    }
    progress_("up");
    stay();
    end(false);
    return 0;
  }

 private:
  void block_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = signalfd(-1, &set, SFD_CLOEXEC);
  }

  static void unblock_signals() {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  Status build() {
    DURE_TRY(groups_, hierarchies());
    remove_groups(groups_, spec_.id, 10);  // of an earlier lab whose supervisor was killed
    DURE_TRY(init_pid_, clone_child(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC, [] {
               unblock_signals();
               return lab_init();
             }));
    const int lab_pids = open(("/proc/" + std::to_string(init_pid_) + "/ns/pid").c_str(), O_RDONLY | O_CLOEXEC);
    if (lab_pids < 0 || setns(lab_pids, CLONE_NEWPID) != 0)
      return fail(from_errno("join the lab's pid namespace", errno));
    DURE_CHECK(in_child([&] { return make_lan(init_pid_, spec_); }));
    for (const NodeSpec& node : spec_.nodes) DURE_CHECK(start_node(node));
    progress_("namespaces and network for " + std::to_string(spec_.nodes.size()) + " nodes");
    for (RunningNode& node : nodes_)
      order(node, "containerd", {"containerd", "--config", "/etc/containerd/config.toml"});
    DURE_CHECK(save_state());
    for (RunningNode& node : nodes_) DURE_CHECK(await_containerd(node));
    progress_("containerd answers on every node");
    DURE_CHECK(bootstrap());
    DURE_CHECK(start_forwarder());
    return save_state();
  }

  // Network changes use threads, and a process whose children go to another pid namespace cannot start one.
  Status in_child(const std::function<Status()>& work) {
    DURE_TRY(const int pid, clone_child(0, [&] {
               const Status done = work();
               if (!done) dprintf(STDERR_FILENO, "network: %s\n", done.error().message.c_str());
               return done ? 0 : 1;
             }));
    if (wait_for(pid) != 0)
      return fail(Error{500, "LabNetworkFailed",
                        "the lab's network could not be made; see " + spec_.folder + "/supervisor.log"});
    return {};
  }

  Status start_node(const NodeSpec& spec) {
    RunningNode node;
    node.spec = spec;
    node.folder = spec_.folder + "/nodes/" + spec.name;
    fs::create_directories(node.folder);
    DURE_CHECK(make_groups(groups_, spec_.id, spec.name));
    int control[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0) return fail(from_errno("socketpair", errno));
    const int on = 1;
    setsockopt(control[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    DURE_TRY(const int helper, clone_child(0, [&] { return launch_node(node, control[1]); }));
    close(control[1]);
    node.control = control[0];
    DURE_TRY(node.pid, await_ready(node));
    helpers_.push_back(helper);
    DURE_CHECK(in_child([&] { return plug_in(init_pid_, node.pid, spec_, spec); }));
    nodes_.push_back(std::move(node));
    return {};
  }

  // In a child that is already inside the lab's pid namespace: pid 1 of the node is its child and dies with it.
  int launch_node(const RunningNode& node, int control) {
    prctl(PR_SET_NAME, "dure-lab-node");
    unblock_signals();
    if (!enter_groups(groups_, spec_.id, node.spec.name)) return 1;
    if (!join_namespaces(init_pid_, {"net", "uts", "ipc", "mnt"})) return 1;
    const int log = open((node.folder + "/init.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    auto pid = clone_child(kNodeNamespaces, [&] {
      dup2(log, STDOUT_FILENO);
      dup2(log, STDERR_FILENO);
      return run_node({node.spec, node.folder, spec_.binary, spec_.subnet + ".1", groups_, control});
    });
    close(control);
    return pid ? wait_for(*pid) : 1;
  }

  // "ready" with the sender's pid as this process counts it.
  Result<int> await_ready(const RunningNode& node) {
    pollfd waiting{node.control, POLLIN, 0};
    char text[16], space[CMSG_SPACE(sizeof(ucred))];
    iovec part{text, sizeof text};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    if (poll(&waiting, 1, 10'000) <= 0 || recvmsg(node.control, &message, 0) < 5)
      return fail(
          Error{500, "LabNodeFailed", "node " + node.spec.name + " did not start; see " + node.folder + "/init.log"});
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
      if (c->cmsg_type == SCM_CREDENTIALS) {
        ucred who;
        memcpy(&who, CMSG_DATA(c), sizeof who);
        return who.pid;
      }
    return fail(internal("no credentials came with the node's message"));
  }

  void order(RunningNode& node, const std::string& name, const std::vector<std::string>& arguments) {
    const std::string line = "start\t" + name + "\t" + join(arguments, "\t") + "\n";
    if (write(node.control, line.data(), line.size()) < 0) progress_("node " + node.spec.name + " does not listen");
  }

  Status await_containerd(const RunningNode& node) {
    const std::string path = "/proc/" + std::to_string(node.pid) + "/root/run/containerd/containerd.sock";
    for (int i = 0; i < 300; ++i) {
      if (access(path.c_str(), F_OK) == 0) return {};
      usleep(50'000);
    }
    return fail(
        Error{500, "LabNodeFailed",
              "containerd of " + node.spec.name + " did not start; see " + node.folder + "/var-log/containerd.log"});
  }

  Result<std::string> inside(const RunningNode& node, const std::vector<std::string>& arguments) {
    const std::string log = node.folder + "/var-log/bootstrap.log";
    const int output = open(log.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (output < 0) return fail(from_errno("open " + log, errno));
    Command command;
    command.arguments = arguments;
    command.output = output;
    DURE_TRY(const int status, run_inside(node.pid, command));
    close(output);
    std::ifstream file(log);
    std::string text((std::istreambuf_iterator<char>(file)), {});
    if (status != 0)
      return fail(Error{500, "LabNodeFailed",
                        "on " + node.spec.name + ", `" + join(arguments, " ") + "` ended with " +
                            std::to_string(status) + ":\n" + text});
    return text;
  }

  static std::vector<std::string> capacity(const NodeSpec& spec) {
    return {"--node-name",    spec.name, "--node-ip",         spec.address,
            "--capacity-cpu", spec.cpu,  "--capacity-memory", spec.memory};
  }

  Status bootstrap() {
    std::string join_command;
    for (RunningNode& node : nodes_) {
      if (!node.spec.server) continue;
      std::vector<std::string> init{"dure",
                                    "init",
                                    "--skip-start",
                                    "--apiserver-advertise-address",
                                    node.spec.address,
                                    "--pod-network-cidr",
                                    spec_.pod_cidr,
                                    "--service-cidr",
                                    spec_.service_cidr,
                                    "--apiserver-cert-extra-sans",
                                    "127.0.0.1,localhost"};
      for (const std::string& word : capacity(node.spec)) init.push_back(word);
      DURE_CHECK(inside(node, init));
      order(node, "dure-server", {"dure", "server"});
      order(node, "dure-agent", {"dure", "agent"});
      DURE_TRY(join_command, inside(node, {"dure", "token", "create", "--print-join-command", "--wait", "30s"}));
      progress_("the control plane on " + node.spec.name + " is ready");
    }
    for (RunningNode& node : nodes_) {
      if (node.spec.server || node.spec.bare) continue;
      std::vector<std::string> words;
      for (std::string_view word :
           split(trim(std::string_view(join_command).substr(join_command.rfind("dure join"))), ' '))
        if (!word.empty()) words.emplace_back(word);
      words.push_back("--skip-start");
      for (const std::string& word : capacity(node.spec)) words.push_back(word);
      DURE_CHECK(inside(node, words));
      order(node, "dure-agent", {"dure", "agent"});
      progress_(node.spec.name + " joined");
    }
    return {};
  }

  Status start_forwarder() {
    DURE_TRY(const Listener listener, listen_on_loopback(spec_.api_port));
    api_port_ = listener.port;
    for (const RunningNode& node : nodes_) {
      if (!node.spec.server) continue;
      DURE_TRY(const int helper, clone_child(0, [&] {
                 unblock_signals();
                 return forward(listener.fd, node.pid, node.spec.address, kApiPort);
               }));
      helpers_.push_back(helper);
      close(listener.fd);
      return write_kubeconfig(node);
    }
    close(listener.fd);
    return {};
  }

  // The node's admin.conf with the forwarded port as the server.
  Status write_kubeconfig(const RunningNode& node) {
    std::ifstream in(node.folder + "/etc/kubernetes/admin.conf");
    std::ofstream out(spec_.folder + "/kubeconfig");
    fs::permissions(spec_.folder + "/kubeconfig", fs::perms::owner_read | fs::perms::owner_write);
    for (std::string line; std::getline(in, line);) {
      const size_t at = line.find("server: ");
      if (at != std::string::npos) line = line.substr(0, at) + "server: https://127.0.0.1:" + std::to_string(api_port_);
      out << line << "\n";
    }
    if (!in.eof() || !out) return fail(internal("cannot write " + spec_.folder + "/kubeconfig"));
    return {};
  }

  Status save_state() {
    LabState state;
    state.supervisor_pid = getpid();
    state.init_pid = init_pid_;
    state.api_port = api_port_;
    if (spec_.time_limit.count() > 0)
      state.ends_at_seconds =
          time(nullptr) + std::chrono::duration_cast<std::chrono::seconds>(spec_.time_limit).count();
    for (const RunningNode& node : nodes_)
      state.nodes.push_back({node.spec.name, node.spec.address, node.pid, node.spec.server, node.spec.bare});
    return write_state(spec_.folder, state);
  }

  void stay() {
    const auto limit = std::chrono::duration_cast<std::chrono::seconds>(spec_.time_limit).count();
    const time_t ends = limit > 0 ? time(nullptr) + limit : 0;
    while (ends == 0 || time(nullptr) < ends) {
      pollfd waiting{signals_, POLLIN, 0};
      if (poll(&waiting, 1, ends ? 60'000 : -1) <= 0) continue;
      signalfd_siginfo info;
      if (read(signals_, &info, sizeof info) != sizeof info) continue;
      if (info.ssi_signo != SIGCHLD) return;
      if (kill(init_pid_, 0) != 0 || is_dead(init_pid_)) return;
    }
  }

  // A lab that failed to start keeps its logs; the next up or down removes them.
  void end(bool keep_logs) {
    // Pid 1 of a namespace ends only when all its processes are reaped, and the helpers are ours to reap.
    if (init_pid_ > 0) kill(init_pid_, SIGKILL);
    for (int helper : helpers_) {
      kill(helper, SIGKILL);
      wait_for(helper);
    }
    if (init_pid_ > 0) wait_for(init_pid_);
    const int left = remove_groups(groups_, spec_.id);
    std::error_code ignored;
    if (!keep_logs) fs::remove_all(spec_.folder + "/nodes", ignored);
    for (const char* part : {"/state", "/kubeconfig", "/bin"}) fs::remove_all(spec_.folder + part, ignored);
    progress_(left == 0 ? "down" : "down, but " + std::to_string(left) + " cgroup folders could not be removed");
  }

  const LabSpec& spec_;
  const Progress& progress_;
  std::vector<Hierarchy> groups_;
  std::vector<RunningNode> nodes_;
  std::vector<int> helpers_;
  int init_pid_ = 0, signals_ = -1, api_port_ = 0;
};

}  // namespace

int supervise(const LabSpec& spec, const Progress& progress) { return Supervisor(spec, progress).run(); }

}  // namespace dure::lab
