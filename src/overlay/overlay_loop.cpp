#include "overlay/overlay.h"

#include "client/object_meta.h"
#include "schema/json.h"

namespace dure::overlay {

namespace {

const client::Key whole{"", "nodes"};  // a peer's change touches one table: there is one key

std::string annotation_patch(const std::map<std::string, std::string>& annotations) {
  schema::Document patch;
  schema::Node* metadata = patch.member(patch.root(), "metadata");
  patch.make_object(metadata);
  schema::Node* target = patch.member(metadata, "annotations");
  patch.make_object(target);
  for (const auto& [key, value] : annotations) patch.set(patch.member(target, key), value);
  return schema::to_json(patch);
}

}  // namespace

client::LoopSpec overlay_loop(Overlay& overlay, const std::string& node_name, client::Caches& caches,
                              client::Client& client) {
  using kinds::core_v1::nodes;
  client::LoopSpec spec;
  spec.name = "overlay";
  spec.watches.push_back({&nodes, [](const schema::Object&, const auto& enqueue) { enqueue(whole); }});
  spec.owns = {"flannel.alpha.coreos.com annotations of v1 Node"};
  spec.resync = 5min;  // a foreign hand may have changed links or rules
  spec.reconcile = [&overlay, node_name, &caches, &client](const client::Key&) -> client::Outcome {
    client::Cache& cache = caches.of(nodes);
    auto synced = overlay.sync(cache.list());
    if (!synced) return client::Outcome::failed(synced.error());
    schema::Object own = cache.get({"", node_name});
    if (!own) return client::Outcome::done();
    bool differs = false;
    for (const auto& [key, value] : synced->annotations) differs |= client::annotation(own, key) != value;
    if (!differs) return client::Outcome::done();
    auto patched =
        client.patch(nodes, {"", node_name}, client::PatchType::merge, annotation_patch(synced->annotations));
    if (!patched) return client::Outcome::failed(patched.error());
    return client::Outcome::done();
  };
  return spec;
}

}  // namespace dure::overlay
