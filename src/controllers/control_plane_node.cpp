#include "controllers/control_plane_node.h"

#include "controllers/node_rules.h"
#include "schema/json.h"

namespace dure::controllers {

LoopSpec control_plane_node(Client& client, Caches& caches, std::string node_name) {
  Cache& nodes = caches.of(core::nodes);
  LoopSpec spec;
  spec.name = "control-plane-node";
  spec.watches = {{&core::nodes,
                   [node_name](const Object& node, const Enqueue& enqueue) {
                     if (client::name_of(node) == node_name) enqueue(client::key_of(node));
                   },
                   {}}};
  spec.owns = {"label node-role.kubernetes.io/control-plane of v1 Node"};
  spec.reconcile = [&client, &nodes](const Key& key) {
    const Object node = nodes.get(key);
    if (!node || core::Node(node).metadata().labels().contains(control_plane_label)) return Outcome::done();
    Document patch;
    patch.set(patch.member(patch.member(patch.member(patch.root(), "metadata"), "labels"), control_plane_label), "");
    return outcome_of(client.patch(core::nodes, key, client::PatchType::merge, schema::to_json(patch)));
  };
  return spec;
}

}  // namespace dure::controllers
