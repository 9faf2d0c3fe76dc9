#include "controllers/service_account.h"

namespace dure::controllers {
namespace {

constexpr std::string_view account_name = "default";
constexpr std::string_view root_ca_name = "kube-root-ca.crt";

bool is_alive(Cache& namespaces, const Key& key) {
  const Object space = namespaces.get({{}, key.name});
  return space && !client::is_terminating(space) && core::Namespace(space).status().phase() != "Terminating";
}

// An object of that name wakes its namespace.
std::function<void(const Object&, const Enqueue&)> namespace_of_named(std::string_view name) {
  return [name](const Object& object, const Enqueue& enqueue) {
    if (client::name_of(object) == name) enqueue({{}, std::string(client::namespace_of(object))});
  };
}

// Somebody else made it, or the namespace began to leave meanwhile.
Outcome outcome_of_making(Result<Object> written) {
  if (!written && (written.error().is("AlreadyExists") || written.error().code == 403)) return Outcome::done();
  return outcome_of(std::move(written));
}

}  // namespace

LoopSpec service_account(Client& client, Caches& caches) {
  Cache& namespaces = caches.of(core::namespaces);
  Cache& accounts = caches.of(core::serviceaccounts);
  LoopSpec spec;
  spec.name = "serviceaccount";
  spec.watches = {{&core::namespaces, client::own_key(), {}},
                  {&core::serviceaccounts, namespace_of_named(account_name), {}}};
  spec.owns = {"v1 ServiceAccount default"};
  spec.reconcile = [&client, &namespaces, &accounts](const Key& key) {
    if (!is_alive(namespaces, key) || accounts.get({key.name, std::string(account_name)})) return Outcome::done();
    Document account(*core::serviceaccounts.type);
    account.set(account.member(account.root(), "apiVersion"), "v1");
    account.set(account.member(account.root(), "kind"), "ServiceAccount");
    auto metadata = core::ServiceAccount(account).mutable_metadata();
    metadata.set_name(account_name);
    metadata.set_namespace(key.name);
    return outcome_of_making(client.create(core::serviceaccounts, account, key.name));
  };
  return spec;
}

LoopSpec root_ca_publisher(Client& client, Caches& caches, std::string ca_pem) {
  Cache& namespaces = caches.of(core::namespaces);
  Cache& maps = caches.of(core::configmaps);
  LoopSpec spec;
  spec.name = "root-ca-publisher";
  spec.watches = {{&core::namespaces, client::own_key(), {}},
                  {&core::configmaps, namespace_of_named(root_ca_name), {}}};
  spec.owns = {"v1 ConfigMap kube-root-ca.crt"};
  spec.reconcile = [&client, &namespaces, &maps, ca_pem = std::move(ca_pem)](const Key& key) {
    if (!is_alive(namespaces, key)) return Outcome::done();
    const Object existing = maps.get({key.name, std::string(root_ca_name)});
    if (existing && core::ConfigMap(existing).data().size() == 1 &&
        core::ConfigMap(existing).data().get("ca.crt") == ca_pem)
      return Outcome::done();
    Document map = existing ? existing->clone() : Document(*core::configmaps.type);
    map.set(map.member(map.root(), "apiVersion"), "v1");
    map.set(map.member(map.root(), "kind"), "ConfigMap");
    core::ConfigMap view(map);
    auto metadata = view.mutable_metadata();
    metadata.set_name(root_ca_name);
    metadata.set_namespace(key.name);
    metadata.set_annotations("kubernetes.io/description",
                             "The cluster's certificate authority: verifies the API server at its in-cluster address.");
    view.clear_data();
    view.set_data("ca.crt", ca_pem);
    return outcome_of_making(existing ? client.update(core::configmaps, map)
                                      : client.create(core::configmaps, map, key.name));
  };
  return spec;
}

}  // namespace dure::controllers
