#include "plane/cluster_objects.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/ip.h"
#include "client/cache.h"
#include "client/object_meta.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/discovery_v1.h"
#include "pki/kubeconfig.h"

namespace dure::plane {
namespace {

namespace core = kinds::core_v1;
namespace discovery = kinds::discovery_v1;
using client::Client;
using schema::Document;

// Creates, or replaces what differs from `wanted` in the members that `same` compares.
template <class Same>
Status ensure(Client& client, const client::Resource& resource, Document wanted, const client::Key& key, Same same) {
  auto now = client.get(resource, key);
  if (now && same(*now)) return {};
  if (!now && !now.error().is("NotFound")) return fail(std::move(now.error()).with_context(key.text()));
  auto written = now ? client.update(resource, wanted) : client.create(resource, wanted, key.namespace_);
  if (!written && !written.error().is("AlreadyExists"))
    return fail(std::move(written.error()).with_context(key.text()));
  return {};
}

Status ensure_service(Client& client, const client::Key& key, std::string_view address,
                      std::initializer_list<std::tuple<std::string_view, int, int, std::string_view>> ports) {
  Document document(core::Service::schema_type());
  core::Service service(document);
  service.mutable_metadata().set_name(key.name);
  service.mutable_metadata().set_namespace(key.namespace_);
  if (key.name == "kubernetes") {
    service.mutable_metadata().set_labels("component", "apiserver");
    service.mutable_metadata().set_labels("provider", "kubernetes");
  } else {
    service.mutable_metadata().set_labels("k8s-app", key.name);
    service.mutable_metadata().set_labels("kubernetes.io/name", "CoreDNS");
  }
  auto spec = service.mutable_spec();
  spec.set_clusterIP(address);
  for (const auto& [name, port, target, protocol] : ports) {
    auto one = spec.add_ports();
    one.set_name(name);
    one.set_port(port);
    one.set_protocol(protocol);
    one.set_targetPort(static_cast<int64_t>(target));
  }
  return ensure(client, core::services, std::move(document), key, [](const schema::Object&) { return true; });
}

// The API server is no pod: its endpoints are written by the server itself.
Status ensure_api_endpoints(Client& client, const bootstrap::ServerSettings& settings, const std::string& address) {
  Document slice_document(discovery::EndpointSlice::schema_type());
  discovery::EndpointSlice slice(slice_document);
  slice.mutable_metadata().set_name("kubernetes");
  slice.mutable_metadata().set_namespace("default");
  slice.mutable_metadata().set_labels("kubernetes.io/service-name", "kubernetes");
  slice.set_addressType("IPv4");
  auto endpoint = slice.add_endpoints();
  endpoint.add_addresses(address);
  endpoint.mutable_conditions().set_ready(true);
  auto port = slice.add_ports();
  port.set_name("https");
  port.set_port(settings.bind_port);
  port.set_protocol("TCP");
  DURE_CHECK(ensure(client, discovery::endpointslices, std::move(slice_document), {"default", "kubernetes"},
                    [&](const schema::Object& now) {
                      const discovery::EndpointSlice there(now);
                      return there.endpoints().size() == 1 &&
                             there.endpoints().front().addresses().front() == address &&
                             there.ports().front().port() == settings.bind_port;
                    }));

  Document endpoints_document(core::Endpoints::schema_type());
  core::Endpoints endpoints(endpoints_document);
  endpoints.mutable_metadata().set_name("kubernetes");
  endpoints.mutable_metadata().set_namespace("default");
  endpoints.mutable_metadata().set_labels("endpointslice.kubernetes.io/skip-mirror", "true");
  auto subset = endpoints.add_subsets();
  subset.add_addresses().set_ip(address);
  auto subset_port = subset.add_ports();
  subset_port.set_name("https");
  subset_port.set_port(settings.bind_port);
  subset_port.set_protocol("TCP");
  return ensure(client, core::endpoints, std::move(endpoints_document), {"default", "kubernetes"},
                [&](const schema::Object& now) {
                  const core::Endpoints there(now);
                  return there.subsets().size() == 1 && there.subsets().front().addresses().front().ip() == address &&
                         there.subsets().front().ports().front().port() == settings.bind_port;
                });
}

Status ensure_own_services(Client& client, const bootstrap::ServerSettings& settings, const schema::Object& own_node) {
  DURE_CHECK(ensure_service(client, {"default", "kubernetes"}, settings.service_address(1),
                            {{"https", 443, settings.bind_port, "TCP"}}));
  DURE_CHECK(ensure_api_endpoints(client, settings, api_address(settings, own_node)));
  return ensure_service(client, {"kube-system", "kube-dns"}, settings.service_address(10),
                        {{"dns", 53, 53, "UDP"}, {"dns-tcp", 53, 53, "TCP"}});
}

using Texts = std::vector<std::pair<std::string_view, std::string>>;

Status ensure_config_map(Client& client, const client::Key& key, const Texts& texts) {
  Document document(core::ConfigMap::schema_type());
  core::ConfigMap map(document);
  map.mutable_metadata().set_name(key.name);
  map.mutable_metadata().set_namespace(key.namespace_);
  for (const auto& [name, text] : texts) map.set_data(name, text);
  return ensure(client, core::configmaps, std::move(document), key, [&](const schema::Object& now) {
    const auto data = core::ConfigMap(now).data();
    return std::ranges::all_of(texts, [&](const auto& one) { return data.get(one.first) == one.second; });
  });
}

// kubeadm's words for what third parties ask of it, and ours for what it has none for.
Texts kubeadm_config(const bootstrap::ServerSettings& settings) {
  return {{"ClusterConfiguration",
           fmt::format("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: kubernetes\n"
                       "controlPlaneEndpoint: {}\nkubernetesVersion: v1.34.0\ncertificatesDir: /etc/kubernetes/pki\n"
                       "networking:\n  dnsDomain: {}\n  podSubnet: {}\n  serviceSubnet: {}\n",
                       settings.public_url().substr(std::string_view("https://").size()), settings.dns_domain,
                       settings.pod_cidr, settings.service_cidr)},
          {"DureConfiguration", fmt::format("apiVersion: dure.dev/v1\nkind: DureConfiguration\n"
                                            "networking:\n  backend: {}\n  nodeSubnet: {}\n",
                                            settings.network, settings.node_cidr)}};
}

// There is no kube-proxy; what asks for its settings wants the ranges and how Services are done.
Texts kube_proxy_config(const bootstrap::ServerSettings& settings) {
  return {{"config.conf", fmt::format("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
                                      "clusterCIDR: {}\nmode: nftables\n",
                                      settings.pod_cidr)},
          {"kubeconfig.conf",
           fmt::format("apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n"
                       "    certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt\n"
                       "    server: {}\n  name: default\ncontexts:\n- context:\n    cluster: default\n"
                       "    namespace: default\n    user: default\n  name: default\ncurrent-context: default\n"
                       "users:\n- name: default\n  user:\n"
                       "    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token\n",
                       settings.url())}};
}

Texts kubelet_config(const bootstrap::ServerSettings& settings) {
  return {{"kubelet", fmt::format("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
                                  "authentication:\n  anonymous:\n    enabled: false\n  webhook:\n    enabled: true\n"
                                  "  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n"
                                  "authorization:\n  mode: Webhook\nclusterDNS:\n- {}\nclusterDomain: {}\n"
                                  "rotateCertificates: true\nstaticPodPath: /etc/kubernetes/manifests\n",
                                  settings.service_address(10), settings.dns_domain)}};
}

}  // namespace

std::string api_address(const bootstrap::ServerSettings& settings, const schema::Object& own_node) {
  const auto nodes = IpPrefix::parse(settings.node_cidr);
  if (settings.network != "wireguard" || !own_node || !nodes) return settings.advertise_address;
  for (auto address : core::Node(own_node).status().addresses()) {
    const auto ip = Ip::parse(address.address());
    if (address.type() == "InternalIP" && ip && nodes->contains(*ip)) return ip->text();
  }
  return settings.advertise_address;
}

client::LoopSpec own_services(Client& client, client::Caches& caches, bootstrap::ServerSettings settings) {
  const client::Key own{"", settings.node_name};
  const auto named = [own](std::initializer_list<client::Key> keys) {
    return [own, keys = std::vector(keys)](const schema::Object& object, const auto& enqueue) {
      if (std::ranges::find(keys, client::key_of(object)) != keys.end()) enqueue(own);
    };
  };
  const client::Key api{"default", "kubernetes"}, names{"kube-system", "kube-dns"};
  client::Cache& nodes = caches.of(core::nodes);
  client::LoopSpec spec;
  spec.name = "own-services";
  spec.watches = {{&core::nodes, named({own})},
                  {&core::services, named({api, names})},
                  {&discovery::endpointslices, named({api})},
                  {&core::endpoints, named({api})}};
  spec.owns = {"Services kubernetes and kube-dns", "endpoints of Service kubernetes"};
  spec.reconcile = [&client, &nodes, settings = std::move(settings)](const client::Key& key) {
    Status done = ensure_own_services(client, settings, nodes.get(key));
    return done ? client::Outcome::done() : client::Outcome::failed(std::move(done).error());
  };
  return spec;
}

Status publish_cluster(Client& client, const bootstrap::ServerSettings& settings, const std::string& ca_pem) {
  auto own_node = client.get(core::nodes, {"", settings.node_name});
  DURE_CHECK(ensure_own_services(client, settings, own_node ? *own_node : nullptr));
  DURE_CHECK(ensure_config_map(client, {"kube-system", "kubeadm-config"}, kubeadm_config(settings)));
  DURE_CHECK(ensure_config_map(client, {"kube-system", "kube-proxy"}, kube_proxy_config(settings)));
  DURE_CHECK(ensure_config_map(client, {"kube-system", "kubelet-config"}, kubelet_config(settings)));
  return ensure_config_map(client, {"kube-public", "cluster-info"},
                           {{"kubeconfig", pki::cluster_info_text(settings.public_url(), ca_pem)}});
}

}  // namespace dure::plane
