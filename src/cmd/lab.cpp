#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "base/text.h"
#include "cmd/door.h"
#include "lab/guest.h"
#include "lab/lab.h"
#include "lab/verbs.h"

namespace dure::cmd {
namespace {

struct LabFlags {
  std::string id = "lab";
  int nodes = 3, bare = 0, max_minutes = 30, api_port = 0;
  std::string topology, network, node;
  std::vector<std::string> command;
  bool path_only = false;
};

void report(const std::string& line) {
  printf("  %s\n", line.c_str());
  fflush(stdout);
}

void print_state(const std::string& id, const lab::LabState& state) {
  printf("lab \"%s\": API at https://127.0.0.1:%d, kubeconfig %s/kubeconfig\n", id.c_str(), state.api_port,
         lab::lab_folder(id).c_str());
  if (state.ends_at_seconds > 0) {
    const WallTime ends{state.ends_at_seconds * 1'000'000'000};
    printf("it ends by itself at %s\n", format_time(ends).c_str());
  }
  printf("%-16s %-16s %-14s %-8s %-12s %s\n", "NODE", "ADDRESS", "ROLE", "PID", "SITE", "IS");
  for (const auto& node : state.nodes)
    printf("%-16s %-16s %-14s %-8d %-12s %s\n", node.name.c_str(), node.address.c_str(),
           node.server ? "server,agent"
           : node.bare ? "none"
                       : "agent",
           node.pid, node.site.c_str(), node.condition.c_str());
  printf("%-16s %-18s %-18s %-16s %s\n", "SITE", "SUBNET", "NAT", "PUBLIC", "CABLE");
  for (const auto& site : state.sites)
    printf("%-16s %-18s %-18s %-16s %s\n", site.name.c_str(), site.subnet.c_str(), site.nat.c_str(),
           site.public_address.c_str(), site.cable.c_str());
  for (const std::string& cut : state.cuts) printf("cut: %s\n", cut.c_str());
}

// A file, or the name of one that comes with dure.
Result<lab::Topology> find_topology(const std::string& name) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(name, ignored)) {
    std::ifstream file(name);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    auto topology = lab::read_topology(text);
    if (!topology) return fail(std::move(topology.error()).with_context(name));
    return topology;
  }
  const std::string_view text = lab::shipped_topology(name);
  if (text.empty())
    return fail(Error{404, "NoSuchTopology",
                      "\"" + name + "\" is neither a file nor a topology that comes with dure; those are " +
                          join(lab::shipped_topologies(), ", ")});
  return lab::read_topology(text);
}

Result<int> lab_up(const LabFlags& flags) {
  if (flags.nodes < 1 || flags.nodes + flags.bare > 50) return fail(bad_request("--nodes must be between 1 and 50"));
  std::error_code error;
  lab::LabSpec spec;
  spec.id = flags.id;
  spec.folder = lab::lab_folder(flags.id);
  spec.binary = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (flags.topology.empty())
    spec.topology = lab::one_lan(flags.nodes, flags.bare);
  else {
    DURE_TRY(spec.topology, find_topology(flags.topology));
  }
  spec.network = flags.network;
  spec.time_limit = std::chrono::minutes(flags.max_minutes);
  spec.api_port = flags.api_port;
  DURE_TRY(const lab::UpResult result, lab::up(spec, report));
  if (result.already) printf("already up\n");
  print_state(flags.id, result.state);
  return 0;
}

Result<int> lab_kubeconfig(const LabFlags& flags) {
  DURE_TRY(const lab::LabState state, lab::status(flags.id));
  const std::string path = lab::lab_folder(flags.id) + "/kubeconfig";
  if (flags.path_only) {
    printf("%s\n", path.c_str());
    return 0;
  }
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

Result<int> change_lab(const LabFlags& flags, const std::string& verb) {
  std::vector<std::string> words{verb};
  words.insert(words.end(), flags.command.begin(), flags.command.end());
  DURE_TRY(const std::string done, lab::change(flags.id, words));
  printf("%s\n", done.c_str());
  return 0;
}

}  // namespace

Door lab_door() {
  auto flags = std::make_shared<LabFlags>();
  const Flag id{"--name", &flags->id, "Which lab"};
  Door up{.name = "up",
          .summary = "Start a cluster of several nodes on this machine",
          .flags = {id,
                    {"topology", &flags->topology,
                     "A file, or one that comes with dure: " + join(lab::shipped_topologies(), ", ") +
                         "; without it all nodes stand on one LAN"},
                    {"--nodes", &flags->nodes, "How many nodes on one LAN; node1 is the server"},
                    {"--bare", &flags->bare,
                     "Further machines that have containerd but have not joined: try dure join on them"},
                    {"--network", &flags->network, "Pod network, as dure init has it"},
                    {"--max-minutes", &flags->max_minutes, "The lab ends by itself after this time; 0: never"},
                    {"--api-port", &flags->api_port, "Port of the API on 127.0.0.1; 0: chosen"}},
          .run = [flags] { return lab_up(*flags); }};
  Door down{.name = "down",
            .summary = "End a lab and remove everything of it",
            .flags = {id},
            .run = [flags]() -> Result<int> {
              DURE_CHECK(lab::down(flags->id, report));
              return 0;
            }};
  Door status{.name = "status", .summary = "Show a running lab", .flags = {id}, .run = [flags]() -> Result<int> {
                DURE_TRY(const lab::LabState state, lab::status(flags->id));
                print_state(flags->id, state);
                return 0;
              }};
  Door exec{.name = "exec",
            .summary = "Run a command inside a node: dure lab exec node2 -- ip route",
            .flags = {id,
                      {"node", &flags->node, "Name of the node", true},
                      {"command", &flags->command, "Command and arguments", true}},
            .run = [flags] { return lab::exec(flags->id, flags->node, flags->command); }};
  Door guest{.name = "guest",
             .summary = "Inside a virtual machine of a lab: run what the lab asks for",
             .run = []() -> Result<int> {
               DURE_CHECK(lab::serve_guest());
               return 0;
             }};
  Door kubeconfig{.name = "kubeconfig",
                  .summary = "Print the kubeconfig of a lab, or with --path where it lies",
                  .flags = {id, {"--path", &flags->path_only, "Only its path"}},
                  .run = [flags] { return lab_kubeconfig(*flags); }};
  Door lab{.name = "lab",
           .summary = "A cluster of several nodes on one machine, to learn and to rehearse",
           .doors = {up, down, status, exec, kubeconfig, guest}};
  for (const lab::Verb& verb : lab::verbs())
    lab.doors.push_back({.name = verb.name,
                         .summary = verb.summary,
                         .flags = {id, {"arguments", &flags->command, verb.arguments, verb.words_min > 0}},
                         .run = [flags, name = verb.name] { return change_lab(*flags, name); }});
  return lab;
}

}  // namespace dure::cmd
