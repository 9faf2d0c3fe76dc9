#include "controllers/service_keys.h"

#include <algorithm>

#include "controllers/pod_facts.h"

namespace dure::controllers {

namespace {

// As Selector::from_map would, without building one: this runs for every event of every pod.
bool selects(const Object& service, const schema::Map<std::string_view>& labels) {
  for (const auto& [key, value] : core::Service(service).spec().selector())
    if (!labels.contains(key) || labels.get(key) != value) return false;
  return true;
}

schema::Map<std::string_view> labels_of(const Object& pod) {
  const Node* metadata = client::metadata_of(*pod);
  return {nullptr, metadata ? metadata->find("labels") : nullptr};
}

}  // namespace

ServiceKeys::ServiceKeys(Caches& caches) : services_(caches.of(core::services)), pods_(caches.of(core::pods)) {}

bool ServiceKeys::is_ours(const Object& service) {
  const core::Service view(service);
  return view.spec().type() != "ExternalName" && !view.spec().selector().empty();
}

void ServiceKeys::of_pod(const Object& pod, const Enqueue& enqueue) const {
  const auto labels = labels_of(pod);
  for (const Object& service : services_.list(client::namespace_of(pod)))
    if (is_ours(service) && selects(service, labels)) enqueue(client::key_of(service));
}

std::vector<Object> ServiceKeys::pods_of(const Object& service) const {
  std::vector<Object> pods = pods_.list(client::namespace_of(service));
  std::erase_if(pods, [&](const Object& pod) { return !selects(service, labels_of(pod)); });
  return pods;
}

std::string change_trigger_time(const Object& service, const std::vector<Object>& pods) {
  std::optional<WallTime> newest = parse_time(client::meta_string(service, "creationTimestamp"));
  for (const Object& pod : pods)
    if (const auto changed = ready_changed_at(core::Pod(pod)); changed && (!newest || *changed > *newest))
      newest = changed;
  return newest ? format_time(*newest) : std::string();
}

}  // namespace dure::controllers
