#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>

#include <fmt/format.h>
#include <yaml.h>

#include "base/text.h"
#include "lab/topology.h"

namespace dure::lab {
namespace {

constexpr size_t kFindingsMax = 20;
constexpr size_t kNameBytesMax = 20;

std::string_view text_of(const yaml_node_t* node) {
  if (!node || node->type != YAML_SCALAR_NODE) return {};
  return {reinterpret_cast<const char*>(node->data.scalar.value), node->data.scalar.length};
}

bool is_name(std::string_view text) {  // a host name in one part
  if (text.empty() || text.size() > kNameBytesMax || text.front() == '-' || text.back() == '-') return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

// A node of the text and the way to it.
struct At {
  const yaml_node_t* node;
  std::string path;
  std::string below(std::string_view name) const {
    return path.empty() ? std::string(name) : path + "." + std::string(name);
  }
};

class Reader {
 public:
  explicit Reader(yaml_document_t& document) : document_(document) {}

  Result<Topology> read() {
    const yaml_node_t* root = yaml_document_get_root_node(&document_);
    if (!root) return fail(Error{400, "BadTopology", "the text is empty; it needs sites and nodes"});
    fields({root, ""}, {{"name", [&](const At& at) { out_.name = std::string(text(at)); }},
                        {"pods", [&](const At& at) { range(at, out_.pod_cidr); }},
                        {"services", [&](const At& at) { range(at, out_.service_cidr); }},
                        {"sites", [&](const At& at) { each(at, [&](const At& one) { read_site(one); }); }},
                        {"nodes", [&](const At& at) { each(at, [&](const At& one) { read_node(one); }); }}});
    if (findings_.empty()) check_whole(root);
    if (findings_.empty()) return std::move(out_);
    return fail(Error{400, "BadTopology", join(findings_, "\n")});
  }

 private:
  using Handler = std::function<void(const At&)>;

  void say(const At& at, std::string_view what) {
    if (findings_.size() == kFindingsMax) findings_.push_back("and more");
    if (findings_.size() > kFindingsMax) return;
    findings_.push_back(
        fmt::format("line {}: {}{}{}", at.node->start_mark.line + 1, at.path, at.path.empty() ? "" : ": ", what));
  }

  std::string_view text(const At& at) {
    if (at.node->type != YAML_SCALAR_NODE) say(at, "must be a single value");
    return text_of(at.node);
  }

  // The pairs of a mapping; a key twice is a finding.
  void each(const At& at, const std::function<void(const At&)>& handle) {
    if (at.node->type != YAML_MAPPING_NODE) return say(at, "must be a mapping: NAME: {...}");
    std::vector<std::string> seen;
    for (auto* pair = at.node->data.mapping.pairs.start; pair < at.node->data.mapping.pairs.top; ++pair) {
      const yaml_node_t* key = yaml_document_get_node(&document_, pair->key);
      const yaml_node_t* value = yaml_document_get_node(&document_, pair->value);
      const std::string name(text_of(key).substr(0, 64));
      if (std::find(seen.begin(), seen.end(), name) != seen.end()) say({key, at.below(name)}, "is here twice");
      seen.push_back(name);
      handle({value, at.below(name)});
    }
  }

  void fields(const At& at, const std::vector<std::pair<std::string_view, Handler>>& known) {
    each(at, [&](const At& one) {
      const std::string name = one.path.substr(at.path.empty() ? 0 : at.path.size() + 1);
      for (const auto& [key, handler] : known)
        if (key == name) return handler(one);
      std::string names;
      for (const auto& [key, handler] : known) names += (names.empty() ? "" : ", ") + std::string(key);
      say(one, "there is no such field; there are " + names);
    });
  }

  void range(const At& at, std::string& out) {
    const auto prefix = IpPrefix::parse(text(at));
    if (!prefix || prefix->ip.v6)
      return say(at, fmt::format("\"{}\" is not an IPv4 range such as 10.244.0.0/16", text_of(at.node)));
    out = prefix->network().text();
  }

  bool yes(const At& at) {
    const std::string_view value = text(at);
    if (value == "yes" || value == "true" || value == "on") return true;
    if (value != "no" && value != "false" && value != "off")
      say(at, fmt::format("\"{}\" is neither yes nor no", value));
    return false;
  }

  std::string name_at(const At& at) {
    const std::string name = at.path.substr(at.path.find('.') + 1);
    if (!is_name(name))
      say(at, fmt::format("a name has up to {} lower-case letters, digits and dashes", kNameBytesMax));
    return name;
  }

  void read_site(const At& at) {
    SiteSpec site;
    site.name = name_at(at);
    const yaml_node_t* forwards = nullptr;
    fields(at, {{"subnet", [&](const At& one) { read_subnet(one, site.subnet); }},
                {"nat", [&](const At& one) { read_nat(one, site.nat); }},
                {"hairpin", [&](const At& one) { site.hairpin = yes(one); }},
                {"forward", [&](const At& one) { forwards = one.node, read_forwards(one, site.forwards); }},
                {"cable", [&](const At& one) { read_cable(one, site.cable); }}});
    if (site.subnet.length == 0) say(at, "needs a subnet, such as subnet: 192.168.0.0/24");
    if (forwards && (site.nat == Nat::cgnat || site.nat == Nat::none))
      say({forwards, at.below("forward")},
          site.nat == Nat::cgnat ? "a carrier's NAT forwards no ports" : "without NAT there is nothing to forward");
    if (out_.sites.size() == topology_sites_max) return say(at, fmt::format("more than {} sites", topology_sites_max));
    lines_.emplace_back("site " + site.name, at.node);
    out_.sites.push_back(std::move(site));
  }

  void read_subnet(const At& at, IpPrefix& out) {
    const auto prefix = IpPrefix::parse(text(at));
    if (!prefix || prefix->ip.v6 || prefix->length < 16 || prefix->length > 27 || prefix->network() != *prefix)
      return say(at, fmt::format("\"{}\" is not a subnet such as 192.168.0.0/24 (/16 to /27)", text_of(at.node)));
    out = *prefix;
  }

  void read_nat(const At& at, Nat& out) {
    const std::string_view wanted = text(at);
    std::string names;
    for (int i = 0; i <= static_cast<int>(Nat::cgnat); ++i) {
      const std::string_view name = name_of(static_cast<Nat>(i));
      if (name == wanted) {
        out = static_cast<Nat>(i);
        return;
      }
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    say(at, fmt::format("\"{}\" is not a kind of NAT; there are {}", wanted, names));
  }

  // "tcp 443 to pi 6443", one or a list of them.
  void read_forwards(const At& at, std::vector<Forward>& out) {
    if (at.node->type != YAML_SEQUENCE_NODE) return read_forward(at, out);
    int index = 0;
    for (auto* item = at.node->data.sequence.items.start; item < at.node->data.sequence.items.top && index < 64; ++item)
      read_forward({yaml_document_get_node(&document_, *item), fmt::format("{}[{}]", at.path, index++)}, out);
  }

  void read_forward(const At& at, std::vector<Forward>& out) {
    std::vector<std::string_view> words;
    for (std::string_view word : split(text(at), ' '))
      if (!word.empty()) words.push_back(word);
    auto port = [](std::string_view word) -> uint16_t {
      const auto value = parse_int(word);
      return value && *value > 0 && *value < 65536 ? static_cast<uint16_t>(*value) : 0;
    };
    if (words.size() != 5 || (words[0] != "tcp" && words[0] != "udp") || !port(words[1]) || words[2] != "to" ||
        !port(words[4]))
      return say(at, fmt::format("\"{}\" is not a port forward; write it like tcp 443 to pi 6443", text_of(at.node)));
    out.push_back({std::string(words[0]), port(words[1]), std::string(words[3]), port(words[4])});
  }

  void read_cable(const At& at, Cable& out) {
    each(at, [&](const At& one) {
      const std::string name = one.path.substr(at.path.size() + 1);
      if (Status done = set_cable_part(out, name, text(one)); !done) say(one, done.error().message);
    });
  }

  void read_node(const At& at) {
    NodeSpec node;
    node.name = name_at(at);
    node.cpu = node.memory = node.disk = "";
    fields(at, {{"site", [&](const At& one) { node.site = std::string(text(one)); }},
                {"address", [&](const At& one) { node.address = std::string(text(one)); }},
                {"kind", [&](const At& one) { read_kind(one, node.kind); }},
                {"server", [&](const At& one) { node.server = yes(one); }},
                {"bare", [&](const At& one) { node.bare = yes(one); }},
                {"class", [&](const At& one) { node.node_class = one_of(one, {"always-on", "remote", "laptop"}); }},
                {"cpu", [&](const At& one) { amount(one, node.cpu); }},
                {"memory", [&](const At& one) { amount(one, node.memory); }},
                {"disk", [&](const At& one) { amount(one, node.disk); }}});
    if (node.site.empty()) say(at, "needs a site");
    if (node.server && node.bare) say(at, "a bare node cannot be the server");
    size_up(at, node);
    if (out_.nodes.size() == topology_nodes_max) return say(at, fmt::format("more than {} nodes", topology_nodes_max));
    lines_.emplace_back("node " + node.name, at.node);
    out_.nodes.push_back(std::move(node));
  }

  void read_kind(const At& at, NodeKind& out) {
    const std::string_view kind = text(at);
    out = kind == "vm" ? NodeKind::vm : kind == "systemd" ? NodeKind::systemd : NodeKind::ns;
    if (kind != name_of(out)) say(at, fmt::format("\"{}\" is not a kind of node; there are ns, systemd and vm", kind));
  }

  // What was not said, and what a virtual machine can be made with.
  void size_up(const At& at, NodeSpec& node) {
    const bool vm = node.kind == NodeKind::vm;
    if (!vm && !node.disk.empty()) say({at.node, at.below("disk")}, "only a node of kind vm has a disk of its own");
    const NodeSpec usual;
    if (node.cpu.empty()) node.cpu = vm ? "1" : usual.cpu;
    if (node.memory.empty()) node.memory = vm ? "1Gi" : usual.memory;
    if (node.disk.empty()) node.disk = usual.disk;
    if (!vm) return;
    const auto processors = parse_int(node.cpu), memory = mebibytes(node.memory), disk = mebibytes(node.disk);
    if (!processors || *processors < 1 || *processors > 8) say({at.node, at.below("cpu")}, "a vm has 1 to 8");
    if (!memory || *memory < 512 || *memory > (64 << 10)) say({at.node, at.below("memory")}, "a vm has 512Mi to 64Gi");
    if (!disk || *disk < 1024 || *disk > (256 << 10)) say({at.node, at.below("disk")}, "a vm has 1Gi to 256Gi");
  }

  std::string one_of(const At& at, const std::vector<std::string>& allowed) {
    const std::string value(text(at));
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end())
      say(at, fmt::format("\"{}\" is not known; there are {}", value, join(allowed, ", ")));
    return value;
  }

  void amount(const At& at, std::string& out) {  // of the quantities only the shape is looked at: the agent reads them
    const std::string_view value = text(at);
    if (value.empty() || value.size() > 16 || value[0] < '0' || value[0] > '9' ||
        !std::all_of(value.begin(), value.end(),
                     [](char c) { return isalnum(static_cast<unsigned char>(c)) || c == '.'; }))
      return say(at, fmt::format("\"{}\" is not an amount such as 4 or 8Gi", value));
    out = std::string(value);
  }

  At place(const std::string& key, const yaml_node_t* otherwise) {
    for (const auto& [name, node] : lines_)
      if (name == key) return {node, key.substr(0, 4) + "s." + key.substr(5)};
    return {otherwise, ""};
  }

  // What only the whole can tell.
  void check_whole(const yaml_node_t* root) {
    if (out_.sites.empty()) say({root, "sites"}, "there must be at least one");
    if (out_.nodes.empty()) say({root, "nodes"}, "there must be at least one");
    check_sites(root);
    check_nodes(root);
    if (findings_.empty()) check_server(root);
  }

  void check_sites(const yaml_node_t* root) {
    for (const SiteSpec& site : out_.sites) {
      const At at = place("site " + site.name, root);
      if (out_.node(site.name)) say(at, "a node has the same name");
      for (const auto& [range, what] : {std::pair{&out_.pod_cidr, "pod"}, std::pair{&out_.service_cidr, "service"}})
        if (site.subnet.overlaps(*IpPrefix::parse(*range)))
          say(at, fmt::format("the subnet {} overlaps the {} range {}", site.subnet.text(), what, *range));
      for (const SiteSpec& other : out_.sites)
        if (&other != &site && site.nat == Nat::none && other.nat == Nat::none && site.subnet.overlaps(other.subnet))
          say(at, fmt::format("without NAT its subnet is public, and {} has it too", other.name));
      for (const Forward& forward : site.forwards) {
        const NodeSpec* node = out_.node(forward.node);
        if (!node || node->site != site.name)
          say({at.node, at.below("forward")}, fmt::format("there is no node \"{}\" in this site", forward.node));
      }
    }
  }

  void check_nodes(const yaml_node_t* root) {
    for (NodeSpec& node : out_.nodes) {
      const At at = place("node " + node.name, root);
      const SiteSpec* site = out_.site(node.site);
      if (!site) {
        say({at.node, at.below("site")}, fmt::format("there is no site \"{}\"", node.site));
        continue;
      }
      std::vector<std::string> taken;
      for (const NodeSpec& other : out_.nodes)
        if (&other != &node && other.site == node.site && !other.address.empty()) taken.push_back(other.address);
      if (node.address.empty()) {
        const auto address = free_address(site->subnet, taken);
        if (!address) say(at, "the subnet of its site is full");
        node.address = address ? address->text() : "";
        continue;
      }
      const auto address = Ip::parse(node.address);
      if (!address || !site->subnet.contains(*address) || *address == site->gateway())
        say({at.node, at.below("address")},
            fmt::format("\"{}\" is not an address of {} (.1 is the router)", node.address, site->subnet.text()));
      else if (std::find(taken.begin(), taken.end(), node.address) != taken.end())
        say({at.node, at.below("address")}, fmt::format("{} belongs to another node of the site", node.address));
    }
  }

  void check_server(const yaml_node_t* root) {
    const auto servers =
        std::count_if(out_.nodes.begin(), out_.nodes.end(), [](const NodeSpec& n) { return n.server; });
    const auto vms =
        std::count_if(out_.nodes.begin(), out_.nodes.end(), [](const NodeSpec& n) { return n.kind == NodeKind::vm; });
    if (static_cast<size_t>(vms) > topology_vms_max)
      return say({root, "nodes"}, fmt::format("more than {} of kind vm", topology_vms_max));
    const auto bare = std::count_if(out_.nodes.begin(), out_.nodes.end(), [](const NodeSpec& n) { return n.bare; });
    if (servers > 1) return say({root, "nodes"}, "more than one server is not possible yet");
    if (servers == 0 && static_cast<size_t>(bare) < out_.nodes.size())
      return say({root, "nodes"}, "one node must have server: yes (or all bare: yes)");
    if (servers == 0) return;
    for (const NodeSpec& node : out_.nodes)
      if (!node.bare && server_endpoint(out_, *out_.server(), node.site, "x").empty())
        say(place("node " + node.name, root),
            fmt::format("has no way to the server: {} needs forward: [tcp 443 to {} {}]", out_.server()->site,
                        out_.server()->name, api_port));
  }

  yaml_document_t& document_;
  Topology out_;
  std::vector<std::string> findings_;
  std::vector<std::pair<std::string, const yaml_node_t*>> lines_;
};

}  // namespace

Result<Topology> read_topology(std::string_view text) {
  if (text.size() > topology_bytes_max)
    return fail(Error{400, "BadTopology", fmt::format("the text is longer than {} bytes", topology_bytes_max)});
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser)) return fail(internal("yaml_parser_initialize"));
  const std::unique_ptr<yaml_parser_t, void (*)(yaml_parser_t*)> parser_end(&parser, yaml_parser_delete);
  yaml_parser_set_input_string(&parser, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  yaml_document_t document;
  if (!yaml_parser_load(&parser, &document))
    return fail(
        Error{400, "BadTopology",
              fmt::format("line {}: {}", parser.problem_mark.line + 1, parser.problem ? parser.problem : "not YAML")});
  const std::unique_ptr<yaml_document_t, void (*)(yaml_document_t*)> document_end(&document, yaml_document_delete);
  return Reader(document).read();
}

}  // namespace dure::lab
