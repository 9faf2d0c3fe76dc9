#include "overlay/cni.h"

#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/format.h>

#include "base/text.h"
#include "overlay/host_ports.h"
#include "overlay/ipam.h"
#include "schema/json.h"

namespace dure::overlay {

using schema::Document;
using schema::Node;

namespace {

constexpr std::array<std::string_view, 5> versions{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
constexpr std::string_view newest_version = "1.1.0";

// The specification's error codes.
enum CniCode {
  code_version = 1,
  code_environment = 4,
  code_io = 5,
  code_decode = 6,
  code_config = 7,
  code_try_again = 11,
  code_not_available = 50,
  code_own = 100,
};

struct CniError {
  int code = code_own;
  std::string message, details;
};

Error cni_error(int code, std::string message) { return {code, "Cni", std::move(message)}; }

int code_of(const Error& error) {
  if (error.is("Cni")) return error.code;
  if (error.is("FileLocked") || error.is("PodAddressesExhausted")) return code_try_again;
  if (error.is("SystemError") || error.is("DiskError") || error.is("DiskFull")) return code_io;
  return code_own;
}

struct Request {
  std::string command, container_id, netns, interface, version;
  Document config;
  bool loopback = false;
  std::string network, bridge, state_folder;
  std::string address_file;  // where the pod's address outlives a reboot; empty: nowhere
  std::optional<IpPrefix> subnet;
  int mtu = 0;
  bool hairpin = true;
  std::vector<PortMapping> ports;

  Attachment attachment() const { return {container_id, interface}; }
};

std::string text_at(const Node* object, std::string_view key, std::string_view otherwise = {}) {
  const Node* found = object ? object->find(key) : nullptr;
  return std::string(found && found->is_string() ? found->string() : otherwise);
}

std::string value_in(const std::map<std::string, std::string>& env, const char* name) {
  auto found = env.find(name);
  return found == env.end() ? "" : found->second;
}

bool plain_id(std::string_view text) {
  auto letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)); };
  return !text.empty() && letter(text[0]) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || c == '_' || c == '.' || c == '-'; });
}

bool plain_interface(std::string_view text) {
  return !text.empty() && text.size() <= 15 && text != "." && text != ".." &&
         text.find_first_of("/: \t\n\r\v\f") == text.npos;
}

Status check_environment(const Request& request) {
  if (!plain_id(request.container_id))
    return fail(cni_error(code_environment, "CNI_CONTAINERID is missing or not an identifier"));
  if (!plain_interface(request.interface))
    return fail(cni_error(code_environment, "CNI_IFNAME is missing or not the name of an interface"));
  bool needs_netns = request.command == "ADD" || request.command == "CHECK";
  if (needs_netns && request.netns.empty()) return fail(cni_error(code_environment, "CNI_NETNS is missing"));
  return {};
}

uint8_t protocol_number(std::string_view name) {
  std::string small = lower(name);
  return small == "udp" ? kernel::nft_udp : small == "sctp" ? kernel::nft_sctp : kernel::nft_tcp;
}

Result<std::vector<PortMapping>> parse_ports(const Node* runtime_config) {
  std::vector<PortMapping> out;
  const Node* list = runtime_config ? runtime_config->find("portMappings") : nullptr;
  for (const Node* item = list ? list->first() : nullptr; item; item = item->next()) {
    auto number = [&](const char* key) { return item->find(key) ? item->find(key)->integer() : 0; };
    int64_t host = number("hostPort"), container = number("containerPort");
    if (host == 0) continue;  // asked for by nobody
    if (host < 0 || host > 65535 || container < 1 || container > 65535)
      return fail(cni_error(code_config, "portMappings: a port is not between 1 and 65535"));
    PortMapping port{.protocol = protocol_number(text_at(item, "protocol", "tcp")),
                     .host_port = static_cast<uint16_t>(host),
                     .container_port = static_cast<uint16_t>(container)};
    std::string ip = text_at(item, "hostIP");
    if (auto parsed = Ip::parse(ip); parsed && !parsed->v6 && !parsed->is_unspecified()) port.host_ip = *parsed;
    out.push_back(port);
  }
  return out;
}

Status parse_config(Request& request) {
  const Node* root = request.config.root();
  request.loopback = text_at(root, "type") == "loopback";
  request.network = text_at(root, "name", "dure");
  request.bridge = text_at(root, "bridge", "cni0");
  if (const Node* mtu = root->find("mtu")) request.mtu = static_cast<int>(mtu->integer());
  if (const Node* hairpin = root->find("hairpinMode")) request.hairpin = hairpin->boolean();
  const Node* ipam = root->find("ipam");
  request.state_folder = text_at(ipam, "dataDir", "/run/dure/cni") + "/" + request.network;
  request.subnet = IpPrefix::parse(text_at(ipam, "subnet"));
  DURE_TRY(request.ports, parse_ports(root->find("runtimeConfig")));
  if (request.loopback) return {};
  if (!plain_id(request.network))
    return fail(cni_error(code_config, "the network's name is missing or not an identifier"));
  if (!request.subnet || request.subnet->ip.v6 || request.subnet->length > 30)
    return fail(cni_error(code_config, "ipam.subnet is missing or not an IPv4 subnet of at least four addresses"));
  if (!plain_interface(request.bridge)) return fail(cni_error(code_config, "bridge is not the name of an interface"));
  return {};
}

// "K8S_POD_NAMESPACE=shop;K8S_POD_UID=..."
std::string argument(std::string_view arguments, std::string_view key) {
  for (const std::string_view pair : split(arguments, ';'))
    if (pair.size() > key.size() && pair.starts_with(key) && pair[key.size()] == '=')
      return std::string(pair.substr(key.size() + 1));
  return {};
}

Result<Request> parse_request(const std::map<std::string, std::string>& env, std::istream& in) {
  Request request;
  request.command = value_in(env, "CNI_COMMAND");
  request.container_id = value_in(env, "CNI_CONTAINERID");
  request.netns = value_in(env, "CNI_NETNS");
  request.interface = value_in(env, "CNI_IFNAME");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  auto parsed = schema::decode_json(SharedBytes(text));
  if (!parsed || parsed->root()->kind() != schema::Kind::object)
    return fail(cni_error(code_decode, "standard input is not a JSON object"));
  request.config = std::move(*parsed);
  request.version = text_at(request.config.root(), "cniVersion", "0.1.0");
  const std::string pods = text_at(request.config.root()->find("ipam"), "podsFolder");
  const std::string uid = argument(value_in(env, "CNI_ARGS"), "K8S_POD_UID");
  if (!pods.empty() && plain_id(uid)) request.address_file = pods + "/" + uid + "/address";
  return request;
}

BridgeConfig bridge_of(const Request& request, const AddressPool& pool) {
  return {.name = request.bridge,
          .address = {pool.gateway(), request.subnet->length},
          .mtu = request.mtu,
          .hairpin = request.hairpin};
}

PodLinkConfig link_of(const Request& request, const AddressPool& pool, const Ip& ip) {
  return {.interface = request.interface,
          .host_interface = host_interface_name(request.container_id, request.interface),
          .address = {ip, request.subnet->length},
          .gateway = pool.gateway()};
}

// ---- Results.

Node* add_interface(Document& out, Node* list, std::string_view name, std::string_view mac, std::string_view sandbox) {
  Node* item = out.append(list);
  out.make_object(item);
  out.set(out.member(item, "name"), name);
  out.set(out.member(item, "mac"), mac);
  if (!sandbox.empty()) out.set(out.member(item, "sandbox"), sandbox);
  return item;
}

Node* add_list(Document& out, Node* object, std::string_view key) {
  Node* list = out.member(object, key);
  out.make_list(list);
  return list;
}

void add_ip(Document& out, Node* list, const std::string& version, const std::string& address, std::string_view gateway,
            int interface) {
  Node* item = out.append(list);
  out.make_object(item);
  if (!version.starts_with("1.")) out.set(out.member(item, "version"), address.find(':') == address.npos ? "4" : "6");
  out.set(out.member(item, "interface"), interface);
  out.set(out.member(item, "address"), address);
  if (!gateway.empty()) out.set(out.member(item, "gateway"), gateway);
}

std::string finish(const Document& document) {
  std::string out;
  schema::encode_json(document, out, true);
  return out + "\n";
}

std::string add_result(const Request& request, const PodLinkConfig& link, const PodLinkState& state) {
  Document out;
  Node* root = out.root();
  out.set(out.member(root, "cniVersion"), request.version);
  Node* interfaces = add_list(out, root, "interfaces");
  add_interface(out, interfaces, request.bridge, state.bridge_mac, "");
  add_interface(out, interfaces, link.host_interface, state.host_mac, "");
  Node* inside = add_interface(out, interfaces, request.interface, state.pod_mac, request.netns);
  if (request.version == "1.1.0") out.set(out.member(inside, "mtu"), state.mtu);
  add_ip(out, add_list(out, root, "ips"), request.version, link.address.text(), link.gateway.text(), 2);
  Node* route = out.append(add_list(out, root, "routes"));
  out.make_object(route);
  out.set(out.member(route, "dst"), "0.0.0.0/0");
  out.set(out.member(route, "gw"), link.gateway.text());
  out.make_object(out.member(root, "dns"));
  return finish(out);
}

std::string loopback_result(const Request& request) {
  Document out;
  Node* root = out.root();
  out.set(out.member(root, "cniVersion"), request.version);
  add_interface(out, add_list(out, root, "interfaces"), "lo", "00:00:00:00:00:00", request.netns);
  Node* ips = add_list(out, root, "ips");
  add_ip(out, ips, request.version, "127.0.0.1/8", "", 0);
  add_ip(out, ips, request.version, "::1/128", "", 0);
  out.make_object(out.member(root, "dns"));
  return finish(out);
}

std::string version_result(const std::string& version) {
  Document out;
  out.set(out.member(out.root(), "cniVersion"), version);
  Node* list = add_list(out, out.root(), "supportedVersions");
  for (std::string_view supported : versions) out.set(out.append(list), supported);
  return finish(out);
}

std::string error_result(const std::string& version, const Error& error) {
  Document out;
  out.set(out.member(out.root(), "cniVersion"), version);
  out.set(out.member(out.root(), "code"), code_of(error));
  out.set(out.member(out.root(), "msg"), error.message);
  if (!error.remedy.empty()) out.set(out.member(out.root(), "details"), "try: " + error.remedy);
  return finish(out);
}

// ---- Commands. Each answers what goes to standard output.

Result<std::string> loopback(CniWorld& world, const Request& request) {
  if (request.command == "ADD" || request.command == "CHECK") {
    DURE_TRY(auto pod, world.open_namespace(request.netns));
    DURE_TRY(kernel::Link lo, pod->links().get("lo"));
    if (request.command == "CHECK") {
      if (!lo.up) return fail(cni_error(code_own, "lo is down"));
      return std::string();
    }
    DURE_CHECK(pod->links().change(lo.index, {.up = true}));
    return loopback_result(request);
  }
  return std::string();  // the device goes with its namespace
}

// A pod that comes back after a reboot gets the address it had: what its neighbours remember of it stays true while no
// server can tell them anything else. The file goes with the pod's folder.
std::optional<Ip> former_address(CniWorld& world, const Request& request) {
  if (request.address_file.empty()) return {};
  auto text = os::read_file(world.disk, request.address_file);
  return text ? Ip::parse(trim(*text)) : std::nullopt;
}

void remember_address(CniWorld& world, const Request& request, const Ip& ip) {
  const std::string& path = request.address_file;
  if (path.empty() || !world.disk.exists(path.substr(0, path.rfind('/'))) || former_address(world, request) == ip)
    return;
  (void)os::write_file_atomic(world.disk, path, ip.text(), 0644);  // without it the pod only gets another address
}

Result<std::string> add(CniWorld& world, const Request& request) {
  AddressPool pool(world.disk, request.state_folder, *request.subnet);
  DURE_TRY(auto pod, world.open_namespace(request.netns));
  DURE_TRY(Ip ip, pool.take(request.attachment(), former_address(world, request)));
  remember_address(world, request, ip);
  PodLinkConfig link = link_of(request, pool, ip);
  auto state = attach_pod(world.links, *pod, bridge_of(request, pool), link);
  if (state) {
    Status ports = HostPorts(world.nft).put(ip, request.ports);
    if (ports) return add_result(request, link, *state);
    (void)world.links.remove(link.host_interface);
    state = fail(ports.error());
  }
  (void)pool.release(request.attachment());
  return fail(state.error());
}

Status remove_attachment(CniWorld& world, const Request& request, const Attachment& attachment) {
  AddressPool pool(world.disk, request.state_folder, *request.subnet);
  DURE_TRY(std::optional<Ip> ip, pool.find(attachment));
  if (ip) DURE_CHECK(HostPorts(world.nft).remove(*ip));
  DURE_CHECK(world.links.remove(host_interface_name(attachment.container_id, attachment.interface)));
  // Last: the address must not be handed out while anything of the old pod remains.
  DURE_TRY(auto freed, pool.release(attachment));
  (void)freed;
  return {};
}

Result<std::string> check(CniWorld& world, const Request& request) {
  const Node* previous = request.config.root()->find("prevResult");
  if (!previous) return fail(cni_error(code_config, "CHECK needs prevResult"));
  AddressPool pool(world.disk, request.state_folder, *request.subnet);
  DURE_TRY(std::optional<Ip> ip, pool.find(request.attachment()));
  if (!ip) return fail(cni_error(code_own, "no address is reserved for this container"));
  const Node* ips = previous->find("ips");
  bool told = false;
  for (const Node* item = ips ? ips->first() : nullptr; item; item = item->next())
    told |= text_at(item, "address") == IpPrefix{*ip, request.subnet->length}.text();
  if (!told)
    return fail(cni_error(code_own, "the container's address is " + ip->text() + ", not what prevResult says"));
  DURE_TRY(auto pod, world.open_namespace(request.netns));
  DURE_CHECK(check_pod(world.links, *pod, bridge_of(request, pool), link_of(request, pool, *ip)));
  DURE_TRY(auto ports, HostPorts(world.nft).of(*ip));
  std::vector<PortMapping> wanted = request.ports;
  std::ranges::sort(wanted);
  if (ports != wanted) return fail(cni_error(code_own, "the container's host ports are not in place"));
  return std::string();
}

Result<std::string> collect_garbage(CniWorld& world, const Request& request) {
  std::vector<Attachment> valid;
  const Node* list = request.config.root()->find("cni.dev/valid-attachments");
  for (const Node* item = list ? list->first() : nullptr; item; item = item->next())
    valid.push_back({text_at(item, "containerID"), text_at(item, "ifname")});
  AddressPool pool(world.disk, request.state_folder, *request.subnet);
  DURE_TRY(auto taken, pool.list());
  for (auto& [attachment, ip] : taken)
    if (std::ranges::find(valid, attachment) == valid.end()) DURE_CHECK(remove_attachment(world, request, attachment));
  return std::string();
}

Result<std::string> run(CniWorld& world, Request& request) {
  if (request.command == "VERSION") return version_result(request.version);
  bool known = std::ranges::find(versions, request.version) != versions.end();
  if (!known)
    return fail(cni_error(code_version, fmt::format("cniVersion {} is not supported, only {} to {}", request.version,
                                                    versions.front(), versions.back())));
  bool pod_command = request.command == "ADD" || request.command == "DEL" || request.command == "CHECK";
  if (pod_command) DURE_CHECK(check_environment(request));
  if (Status good = parse_config(request); !good) {
    if (request.command != "STATUS") return fail(good.error());
    return fail(cni_error(code_not_available, good.error().message));
  }
  if (request.loopback) return loopback(world, request);
  if (request.command == "ADD") return add(world, request);
  if (request.command == "CHECK") return check(world, request);
  if (request.command == "GC") return collect_garbage(world, request);
  if (request.command == "STATUS") return std::string();
  if (request.command != "DEL")
    return fail(cni_error(code_environment, "CNI_COMMAND \"" + request.command + "\" is not a command"));
  DURE_CHECK(remove_attachment(world, request, request.attachment()));
  return std::string();
}

}  // namespace

int cni_main(CniWorld& world, const std::map<std::string, std::string>& env, std::istream& in, std::ostream& out) {
  auto request = parse_request(env, in);
  Result<std::string> answer = request ? run(world, *request) : fail(request.error());
  if (answer) {
    out << *answer << std::flush;
    return 0;
  }
  std::string version(request ? request->version : newest_version);
  out << error_result(version, answer.error()) << std::flush;
  return 1;
}

int cni_main(const std::map<std::string, std::string>& env, std::istream& in, std::ostream& out) {
  auto links = kernel::open_links();
  auto nft = kernel::open_nft();
  if (!links || !nft) {
    out << error_result(std::string(newest_version), links ? nft.error() : links.error()) << std::flush;
    return 1;
  }
  auto disk = os::make_disk();
  CniWorld world{**links, **nft, *disk};
  return cni_main(world, env, in, out);
}

std::string cni_conflist(const CniConfig& config) {
  return fmt::format(R"({{
  "cniVersion": "1.0.0",
  "name": "dure",
  "plugins": [
    {{
      "type": "dure-cni",
      "bridge": "{}",
      "mtu": {},
      "hairpinMode": true,
      "capabilities": {{"portMappings": true}},
      "ipam": {{"type": "dure-cni", "subnet": "{}", "dataDir": "{}", "podsFolder": "{}"}}
    }}
  ]
}}
)",
                     config.bridge, config.mtu, config.subnet.network().text(), config.state_folder,
                     config.pods_folder);
}

}  // namespace dure::overlay
