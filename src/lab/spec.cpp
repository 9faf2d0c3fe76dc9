#include "lab/spec.h"

#include <sstream>

#include "base/text.h"
#include "os/disk.h"

namespace dure::lab {
namespace {

void read_line(const std::string& line, LabState& state) {
  std::istringstream words(line);
  std::string key;
  words >> key;
  if (key == "supervisor") words >> state.supervisor_pid;
  if (key == "init") words >> state.init_pid;
  if (key == "api") words >> state.api_port;
  if (key == "ends") words >> state.ends_at_seconds;
  if (key == "node") {
    LabState::Node node;
    words >> node.name >> node.address >> node.pid >> node.server >> node.bare >> node.site >> node.condition >>
        node.kind;
    state.nodes.push_back(std::move(node));
  }
  if (key == "site") {
    LabState::Site site;
    words >> site.name >> site.subnet >> site.nat >> site.public_address >> site.cable;
    state.sites.push_back(std::move(site));
  }
  if (key == "router") {
    LabState::Router router;
    words >> router.name >> router.pid;
    state.routers.push_back(std::move(router));
  }
  if (key == "cut") state.cuts.push_back(line.substr(4));
}

}  // namespace

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
         << " " << node.site << " " << node.condition << " " << node.kind << "\n";
  for (const LabState::Site& site : state.sites)
    text << "site " << site.name << " " << site.subnet << " " << site.nat << " " << site.public_address << " "
         << site.cable << "\n";
  for (const LabState::Router& router : state.routers) text << "router " << router.name << " " << router.pid << "\n";
  for (const std::string& cut : state.cuts) text << "cut " << cut << "\n";
  return os::write_file_atomic(*os::make_disk(), folder + "/state", text.str(), 0644);
}

Result<LabState> read_state(const std::string& folder) {
  DURE_TRY(const std::string text, os::read_file(*os::make_disk(), folder + "/state"));
  LabState state;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) read_line(line, state);
  return state;
}

}  // namespace dure::lab
