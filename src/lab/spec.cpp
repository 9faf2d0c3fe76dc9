#include "lab/spec.h"

#include <sstream>

#include "base/text.h"
#include "os/disk.h"

namespace dure::lab {

LabSpec one_lan(std::string id, std::string folder, std::string binary, int nodes, int bare) {
  LabSpec spec;
  spec.id = std::move(id);
  spec.folder = std::move(folder);
  spec.binary = std::move(binary);
  for (int i = 1; i <= nodes + bare; ++i) {
    NodeSpec node;
    node.name = "node" + std::to_string(i);
    node.address = spec.subnet + "." + std::to_string(10 + i);
    node.server = i == 1 && nodes > 0;
    node.bare = i > nodes;
    spec.nodes.push_back(std::move(node));
  }
  return spec;
}

const LabState::Node* LabState::node(std::string_view name) const {
  for (const Node& node : nodes)
    if (node.name == name) return &node;
  return nullptr;
}

Status write_state(const std::string& folder, const LabState& state) {
  std::ostringstream text;
  text << "supervisor " << state.supervisor_pid << "\ninit " << state.init_pid << "\napi " << state.api_port
       << "\nends " << state.ends_at_seconds << "\n";
  for (const LabState::Node& node : state.nodes)
    text << "node " << node.name << " " << node.address << " " << node.pid << " " << node.server << " " << node.bare
         << "\n";
  return os::write_file_atomic(*os::make_disk(), folder + "/state", text.str(), 0644);
}

Result<LabState> read_state(const std::string& folder) {
  DURE_TRY(const std::string text, os::read_file(*os::make_disk(), folder + "/state"));
  LabState state;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "supervisor") words >> state.supervisor_pid;
    if (key == "init") words >> state.init_pid;
    if (key == "api") words >> state.api_port;
    if (key == "ends") words >> state.ends_at_seconds;
    if (key == "node") {
      LabState::Node node;
      words >> node.name >> node.address >> node.pid >> node.server >> node.bare;
      state.nodes.push_back(std::move(node));
    }
  }
  return state;
}

}  // namespace dure::lab
