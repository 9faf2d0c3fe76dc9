#include "lab/world.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "base/text.h"
#include "lab/forwarder.h"
#include "lab/process.h"
#include "lab/systemd_root.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

void unblock_signals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Pid 1 of the lab: reaps and waits to be killed.
int lab_init() {
  prctl(PR_SET_NAME, "dure-lab-init");
  unblock_signals();
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 1;
  signal(SIGCHLD, SIG_DFL);
  while (true) {
    if (waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) pause();
  }
}

std::vector<std::string> agent_flags(const NodeSpec& spec) {
  std::vector<std::string> out{"--node-name", spec.name, "--node-ip", spec.address};
  if (spec.kind != NodeKind::vm) out.insert(out.end(), {"--capacity-cpu", spec.cpu, "--capacity-memory", spec.memory});
  if (!spec.node_class.empty()) out.insert(out.end(), {"--node-labels", "dure.dev/class=" + spec.node_class});
  return out;
}

void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace

std::string site_host(const std::string& site) { return site + ".dure.test"; }

World::World(const LabSpec& spec, std::function<void(const std::string&)> step)
    : spec_(spec), step_(std::move(step)), network_(spec.topology, spec.id, spec.folder) {}

Status World::build() {
  DURE_TRY(groups_, hierarchies());
  remove_groups(groups_, spec_.id, 10);  // of an earlier lab whose supervisor was killed
  DURE_CHECK(find_roots());
  DURE_CHECK(start_init());
  DURE_CHECK(network_.build(init_pid_));
  step_("internet and " + std::to_string(spec_.topology.sites.size()) +
        (spec_.topology.sites.size() == 1 ? " site" : " sites"));
  DURE_CHECK(switch_on_all());
  DURE_CHECK(start_cluster());
  return open_door();
}

Status World::find_roots() {
  auto some = [&](NodeKind kind) {
    return std::ranges::any_of(spec_.topology.nodes, [&](const NodeSpec& node) { return node.kind == kind; });
  };
  if (some(NodeKind::systemd)) {
    DURE_TRY(ground_.systemd_root, systemd_root(cache_holds_, step_));
  }
  if (some(NodeKind::vm)) {
    DURE_TRY(ground_.vm_root, vm_root(cache_holds_, step_));
  }
  return {};
}

Status World::switch_on(Machine& machine) {
  ground_.init_pid = init_pid_;
  ground_.hosts = hosts();
  DURE_CHECK(machine.switch_on(ground_, network_.plug(machine.spec().name)));
  return network_.plug_in(machine.spec().name, machine.pid());
}

// A vm does not see whether the router's end of its cable is up.
Status World::set_plugged(Machine& machine, bool plugged) {
  DURE_CHECK(network_.set_plugged(machine.spec().name, plugged));
  return machine.vm() && !machine.frozen() ? machine.set_carrier(plugged) : Status();
}

Status World::start_init() {
  DURE_TRY(init_pid_, clone_child(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC,
                                  [] { return lab_init(); }));
  const int lab_pids = open(("/proc/" + std::to_string(init_pid_) + "/ns/pid").c_str(), O_RDONLY | O_CLOEXEC);
  if (lab_pids < 0 || setns(lab_pids, CLONE_NEWPID) != 0)
    return fail(from_errno("join the lab's pid namespace", errno));
  close(lab_pids);
  return {};
}

Status World::switch_on_all() {
  for (const NodeSpec& node : spec_.topology.nodes) {
    Machine& machine = machines_.emplace_back(spec_, node, groups_);
    DURE_CHECK(switch_on(machine));
    machine.add_service("containerd", {"containerd", "--config", "/etc/containerd/config.toml"});
  }
  size_t booting = 0;
  for (const Machine& machine : machines_)
    if (machine.vm() && !machine.spec().server)
      ++booting;
    else
      DURE_CHECK(machine.await_containerd());
  step_(fmt::format("{} nodes; containerd answers on each{}", machines_.size(),
                    booting ? fmt::format(" but {} that still boot", booting) : ""));
  return {};
}

// Those that take their time.
Status World::await_vms() {
  for (const Machine& machine : machines_)
    if (machine.vm() && !machine.spec().server) {
      DURE_CHECK(machine.await_containerd());
      step_(machine.spec().name + " has booted; containerd answers");
    }
  return {};
}

Status World::start_cluster() {
  const NodeSpec* server = spec_.topology.server();
  if (!server) return await_vms();
  DURE_TRY(Machine* const first, machine(server->name));
  DURE_CHECK(start_server(*first));
  DURE_TRY(const std::string join_command,
           first->inside({"dure", "token", "create", "--print-join-command", "--wait", "30s"}));
  step_("the control plane on " + server->name + " is ready");
  DURE_CHECK(await_vms());
  for (Machine& machine : machines_)
    if (!machine.spec().server && !machine.spec().bare) DURE_CHECK(join_cluster(machine, join_command));
  return {};
}

// Its certificate is good for every name and address by which a member may come: its own, its site's and the
// loopback's.
Status World::start_server(Machine& machine) {
  const NodeSpec& spec = machine.spec();
  std::vector<std::string> init{
      "dure",
      "init",
      "--skip-start",
      "--apiserver-advertise-address",
      spec.address,
      "--pod-network-cidr",
      spec_.topology.pod_cidr,
      "--service-cidr",
      spec_.topology.service_cidr,
      "--apiserver-cert-extra-sans",
      "127.0.0.1,localhost," + site_host(spec.site) + "," + network_.site(spec.site).public_address.text()};
  if (!spec_.network.empty()) append(init, {"--network", spec_.network});
  append(init, agent_flags(spec));
  DURE_TRY([[maybe_unused]] const std::string output, machine.inside(init));
  machine.add_service("dure-server", {"dure", "server"});
  machine.add_service("dure-agent", {"dure", "agent"});
  return {};
}

// The printed command, with the address by which this node reaches the server from where it stands.
Status World::join_cluster(Machine& machine, const std::string& join_command) {
  const NodeSpec& server = *spec_.topology.server();
  std::vector<std::string> words;
  for (std::string_view word : split(trim(std::string_view(join_command).substr(join_command.rfind("dure join"))), ' '))
    if (!word.empty()) words.emplace_back(word);
  if (words.size() < 3) return fail(internal("`dure token create --print-join-command` printed no command"));
  words[2] = server_endpoint(spec_.topology, server, machine.spec().site, site_host(server.site));
  words.push_back("--skip-start");
  append(words, agent_flags(machine.spec()));
  DURE_TRY([[maybe_unused]] const std::string output, machine.inside(words));
  machine.add_service("dure-agent", {"dure", "agent"});
  step_(machine.spec().name + " joined by " + words[2]);
  return {};
}

// Again after the server was switched off and on: the way in leads through its namespaces.
Status World::open_door() {
  const NodeSpec* spec = spec_.topology.server();
  if (!spec) return {};
  if (door_fd_ < 0) {
    DURE_TRY(const Listener listener, listen_on_loopback(spec_.api_port));
    door_fd_ = listener.fd;
    api_port_ = listener.port;
  }
  DURE_TRY(Machine* const server, machine(spec->name));
  DURE_TRY(door_pid_, clone_child(0, [&] {
             unblock_signals();
             const Network::PortState& port = network_.port(spec->name);
             if (server->vm()) return forward(door_fd_, network_.site(port.site).pids[0], port.address, api_port);
             return forward(door_fd_, server->pid(), "127.0.0.1", api_port);
           }));
  return write_kubeconfig(*server);
}

// The node's admin.conf with the forwarded port as the server.
Status World::write_kubeconfig(const Machine& server) const {
  DURE_TRY(const std::string text, server.inside({"cat", "/etc/kubernetes/admin.conf"}));
  std::istringstream in(text);
  std::ofstream out(spec_.folder + "/kubeconfig");
  fs::permissions(spec_.folder + "/kubeconfig", fs::perms::owner_read | fs::perms::owner_write);
  for (std::string line; std::getline(in, line);) {
    const size_t at = line.find("server: ");
    if (at != std::string::npos) line = line.substr(0, at) + "server: https://127.0.0.1:" + std::to_string(api_port_);
    out << line << "\n";
  }
  if (!out) return fail(internal("cannot write " + spec_.folder + "/kubeconfig"));
  return {};
}

bool World::alive() const { return !has_ended(init_pid_); }

int World::end() {
  // A frozen process does not die of SIGKILL before it thaws.
  for (Machine& machine : machines_)
    if (machine.frozen() && !machine.freeze(false)) step_(machine.spec().name + " does not thaw");
  // Pid 1 of a namespace ends only when all its processes are reaped, and its children here are ours to reap.
  if (init_pid_ > 0) kill(init_pid_, SIGKILL);
  std::vector<int> children = network_.processes();
  for (const Machine& machine : machines_) children.push_back(machine.launcher());
  children.push_back(door_pid_);
  for (const int child : children) {
    if (child <= 0) continue;
    kill(child, SIGKILL);
    wait_for(child);
  }
  if (init_pid_ > 0) wait_for(init_pid_);
  return remove_groups(groups_, spec_.id);
}

std::string World::hosts() const {
  std::string out;
  for (const SiteSpec& site : spec_.topology.sites)
    out += network_.site(site.name).public_address.text() + " " + site_host(site.name) + "\n";
  return out;
}

std::string World::condition(const Machine& machine) const {
  if (!machine.on()) return "off";
  std::string out;
  if (machine.frozen()) out += ",frozen";
  if (!network_.port(machine.spec().name).plugged) out += ",unplugged";
  if (!machine.skew.empty()) out += ",skew=" + machine.skew;
  return out.empty() ? "on" : out.substr(1);
}

void World::fill(LabState& state) const {
  state.init_pid = init_pid_;
  state.api_port = api_port_;
  for (const Machine& machine : machines_) {
    const NodeSpec& spec = machine.spec();
    const Network::PortState& port = network_.port(spec.name);
    state.nodes.push_back({spec.name, port.address, machine.pid(), spec.server, spec.bare, port.site,
                           condition(machine), std::string(name_of(spec.kind))});
  }
  for (const SiteSpec& spec : spec_.topology.sites) {
    const Network::SiteState& site = network_.site(spec.name);
    std::string cable = site.cable.text();
    for (char& c : cable) c = c == ' ' ? ',' : c;
    state.sites.push_back({spec.name, spec.subnet.text(),
                           std::string(name_of(spec.nat)) + (spec.hairpin ? "+hairpin" : ""),
                           site.public_address.text(), cable});
  }
  for (const auto& [name, pid] : network_.routers()) state.routers.push_back({name, pid});
  for (const Network::CutNames& cut : network_.cuts()) state.cuts.push_back(cut.a + (cut.b.empty() ? "" : " " + cut.b));
}

}  // namespace dure::lab
