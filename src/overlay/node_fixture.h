// Test: nodes as network namespaces on one bridge in a namespace that plays the LAN, and pods joined to them by the CNI
// plugin.
#pragma once

#include <sstream>

#include "kernel/probe_fixture.h"
#include "overlay/cni.h"
#include "overlay/overlay.h"
#include "overlay/pod_link.h"
#include "schema/json.h"

namespace dure::overlay {

using kernel::must;
using kernel::NetNamespace;

inline schema::Object node_object(const std::string& name, const std::string& cidr, const std::string& ip,
                                  const std::map<std::string, std::string>& annotations = {}) {
  schema::Document document(kinds::core_v1::Node::type());
  kinds::core_v1::Node node(document);
  node.mutable_metadata().set_name(name);
  for (auto& [key, value] : annotations) node.mutable_metadata().set_annotations(key, value);
  if (!cidr.empty()) node.mutable_spec().set_podCIDR(cidr);
  auto address = node.mutable_status().add_addresses();
  address.set_type("InternalIP");
  address.set_address(ip);
  return schema::share(std::move(document));
}

// A new veth passes nothing until the kernel has looked at its carrier, which it does at most once a second.
inline void await_carrier(kernel::Links& links, const std::string& name) {
  for (int i = 0; i < 300 && !must(links.get(name)).running; ++i) usleep(10'000);
}

class Lan {
 public:
  Lan() : ns(must(NetNamespace::create())), links(must(kernel::open_links(&ns))) {
    must(links->create_bridge({.name = "lan", .mac = Mac::parse("02:00:00:00:ff:01")}));
    must(links->change(must(links->get("lan")).index, {.up = true}));
    must(links->put_address({must(links->get("lan")).index, *IpPrefix::parse("192.168.0.254/24")}));
  }
  NetNamespace ns;
  std::unique_ptr<kernel::Links> links;
};

class TestPod {
 public:
  explicit TestPod(std::string container) : id(std::move(container)), ns(must(NetNamespace::create())) {}
  std::string path() const { return "/proc/self/fd/" + std::to_string(ns.fd()); }
  std::string id, ip;
  NetNamespace ns;
};

class TestNode {
 public:
  TestNode(Lan& lan, std::string node_name, std::string node_ip, std::string pod_cidr, OverlayOptions base = {})
      : name(std::move(node_name)),
        ip(std::move(node_ip)),
        cidr(std::move(pod_cidr)),
        ns(must(NetNamespace::create())) {
    links = must(kernel::open_links(&ns));
    nft = must(kernel::open_nft("dure", &ns));
    sysctl = must(kernel::open_sysctl(&ns));
    disk = std::make_unique<os::MemoryDisk>();
    must(links->change(must(links->get("lo")).index, {.up = true}));
    must(lan.links->create_veth({.name = "to-" + name, .peer_name = "eth0", .peer_namespace = &ns}));
    kernel::Link port = must(lan.links->get("to-" + name));
    must(lan.links->change(port.index, {.up = true, .master = must(lan.links->get("lan")).index}));
    int eth0 = must(links->get("eth0")).index;
    must(links->change(eth0, {.up = true}));
    must(links->put_address({eth0, *IpPrefix::parse(ip + "/24")}));
    must(links->put_route(
        {.destination = *IpPrefix::parse("0.0.0.0/0"), .gateway = Ip::parse("192.168.0.254"), .link = eth0}));
    await_carrier(*lan.links, "to-" + name);
    await_carrier(*links, "eth0");
    base.node_name = name;
    options = base;
    restart();
  }
  ~TestNode() { (void)overlay->remove_all(); }  // wireguard-go is a process of its own

  // As after a restart of the agent: a new object, the same kernel.
  void restart() {
    OverlayWorld world{*links, *nft, *sysctl, *disk};
    world.open_wg = [this](std::string_view device) { return kernel::open_wg(*links, device, {}, &ns); };
    world.endpoints = endpoints;
    overlay = std::make_unique<Overlay>(options, std::move(world));
  }

  schema::Object object() const { return node_object(name, cidr, ip, annotations); }

  size_t sync(const std::vector<schema::Object>& nodes) {
    auto synced = overlay->sync(nodes);
    if (!synced) {
      ADD_FAILURE() << synced.error().message;
      return 0;
    }
    annotations = synced->annotations;
    refused = synced->refused;
    node_ip = synced->node_ip;
    return synced->changes;
  }

  struct Answer {
    int code = 0;
    std::string text;
    schema::Document json() const {
      auto parsed = schema::decode_json(SharedBytes(text));
      if (!parsed) ADD_FAILURE() << text;
      return parsed ? std::move(*parsed) : schema::Document();
    }
  };
  // One call of the plugin; `extra` is put into the plugin's configuration.
  Answer cni(const std::string& command, const TestPod& pod, const std::string& extra = "",
             std::string version = "1.0.0") {
    CniWorld world{*links, *nft, *disk};
    std::string text = R"({"cniVersion":")" + version +
                       R"(","name":"dure","type":"dure-cni","bridge":"cni0","mtu":1450,"hairpinMode":true,)" +
                       R"("ipam":{"type":"dure-cni","subnet":")" + cidr +
                       R"(","dataDir":"/run/dure/cni","podsFolder":"/pods"})" + (extra.empty() ? "" : "," + extra) +
                       "}";
    std::istringstream in(text);
    std::ostringstream out;
    int code = cni_main(world,
                        {{"CNI_COMMAND", command},
                         {"CNI_CONTAINERID", pod.id},
                         {"CNI_NETNS", pod.path()},
                         {"CNI_IFNAME", "eth0"},
                         {"CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=" + pod.id + ";K8S_POD_UID=uid-" + pod.id}},
                        in, out);
    return {code, out.str()};
  }
  // Joins a new pod.
  std::unique_ptr<TestPod> add_pod(const std::string& id, const std::string& extra = "") {
    auto pod = std::make_unique<TestPod>(id);
    Answer answer = cni("ADD", *pod, extra);
    EXPECT_EQ(answer.code, 0) << answer.text;
    schema::Document json = answer.json();
    const schema::Node* ips = json.root()->find("ips");
    const schema::Node* address = ips && ips->first() ? ips->first()->find("address") : nullptr;
    await_carrier(*links, host_interface_name(id, "eth0"));
    await_carrier(*must(kernel::open_links(&pod->ns)), "eth0");
    if (address) pod->ip = IpPrefix::parse(address->string())->ip.text();
    return pod;
  }

  std::string name, ip, cidr;
  NetNamespace ns;
  std::unique_ptr<kernel::Links> links;
  std::unique_ptr<kernel::Nft> nft;
  std::unique_ptr<kernel::Sysctl> sysctl;
  std::unique_ptr<os::MemoryDisk> disk;
  OverlayOptions options;
  Endpoints* endpoints = nullptr;
  std::vector<Refusal> refused;  // of the last sync
  std::optional<Ip> node_ip;
  std::unique_ptr<Overlay> overlay;
  std::map<std::string, std::string> annotations;
};

}  // namespace dure::overlay
