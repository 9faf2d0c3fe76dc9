#include "overlay/overlay.h"

#include <set>

#include "base/log.h"
#include "client/object_meta.h"
#include "schema/json.h"

namespace dure::overlay {

namespace {

std::string annotation_patch(const std::map<std::string, std::string>& annotations) {
  schema::Document patch;
  schema::Node* metadata = patch.member(patch.root(), "metadata");
  patch.make_object(metadata);
  schema::Node* target = patch.member(metadata, "annotations");
  patch.make_object(target);
  for (const auto& [key, value] : annotations) patch.set(patch.member(target, key), value);
  return schema::to_json(patch);
}

// What was told already: each refusal once until it ends.
class Reporter {
 public:
  explicit Reporter(const OverlayLoopOptions& options) : node_name_(options.node_name), events_(options.events) {}

  void tell(const std::vector<Refusal>& refused, client::Cache& nodes) {
    std::set<Refusal> now(refused.begin(), refused.end());
    for (const Refusal& one : now)
      if (!told_.contains(one)) tell(one, nodes.get({"", one.node}));
    told_ = std::move(now);
  }

 private:
  void tell(const Refusal& refusal, const schema::Object& node) {
    log(LogLevel::warn, "overlay", "a node is left out of the pod network",
        {{"node", refusal.node}, {"why", refusal.message}});
    // Every node sees it; the one whose property it is says so to people.
    if (events_ && node && refusal.holder == node_name_)
      events_->warning(client::EventAbout::object(node), "PeerRefused",
                       refusal.message +
                           ": it is left out of the pod network until that is mended (a copied disk? "
                           "dure reset on the copy, then dure join)");
  }

  const std::string node_name_;
  client::EventRecorder* const events_;
  std::set<Refusal> told_;
};

// Writes what our Node lacks.
Status annotate(client::Client& client, const schema::Object& own,
                const std::map<std::string, std::string>& annotations) {
  bool differs = false;
  for (const auto& [key, value] : annotations) differs |= client::annotation(own, key) != value;
  if (!differs) return {};
  auto patched =
      client.patch(kinds::core_v1::nodes, client::key_of(own), client::PatchType::merge, annotation_patch(annotations));
  if (!patched) return fail(std::move(patched).error());
  return {};
}

}  // namespace

// A peer's change touches one table: there is one key.
client::Key overlay_key() { return {"", "nodes"}; }

client::LoopSpec overlay_loop(Overlay& overlay, client::Caches& caches, client::Client& client,
                              OverlayLoopOptions options) {
  using kinds::core_v1::nodes;
  client::LoopSpec spec;
  spec.name = overlay_loop_name;
  spec.watches.push_back({&nodes, [](const schema::Object&, const auto& enqueue) { enqueue(overlay_key()); }});
  spec.owns = {"annotations of the pod network of v1 Node"};
  spec.resync = 5min;  // a foreign hand may have changed links or rules
  auto reporter = std::make_shared<Reporter>(options);
  spec.reconcile = [&overlay, options, reporter, &caches, &client](const client::Key&) -> client::Outcome {
    client::Cache& cache = caches.of(nodes);
    auto synced = overlay.sync(cache.list());
    if (!synced) return client::Outcome::failed(synced.error());
    reporter->tell(synced->refused, cache);
    if (options.on_synced) options.on_synced(*synced);
    schema::Object own = cache.get({"", options.node_name});
    if (!own) return client::Outcome::done();
    Status written = annotate(client, own, synced->annotations);
    return written ? client::Outcome::done() : client::Outcome::failed(std::move(written).error());
  };
  return spec;
}

}  // namespace dure::overlay
