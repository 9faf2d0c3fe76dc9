#include "apiserver/auth/node_graph.h"

#include <algorithm>
#include <mutex>

#include "kinds/hooks/pod_references.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/storage_v1.h"

namespace dure::apiserver {
namespace {

using namespace kinds;

std::string key_of(std::string_view what, std::string_view namespace_, std::string_view name) {
  return std::string(what).append("/").append(namespace_).append("/").append(name);
}

std::vector<std::string> keys_of(const core_v1::Pod& pod) {
  const std::string_view ns = pod.metadata().namespace_();
  std::vector<std::string> keys{key_of("pods", ns, pod.metadata().name())};
  // A mirror pod only shows what the node runs anyway: it must not open doors.
  if (is_mirror_pod(pod)) return keys;
  const PodReferences refs = references_of(pod);
  if (!refs.service_account.empty()) keys.push_back(key_of("serviceaccounts", ns, refs.service_account));
  for (const auto& name : refs.secrets) keys.push_back(key_of("secrets", ns, name));
  for (const auto& name : refs.config_maps) keys.push_back(key_of("configmaps", ns, name));
  for (const auto& name : refs.claims) keys.push_back(key_of("persistentvolumeclaims", ns, name));
  return keys;
}

}  // namespace

void NodeGraph::drop_pod(const std::string& key) {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return;
  for (const std::string& needed : found->second.keys) {
    const auto nodes = needed_.find(needed);
    const auto count = nodes->second.find(found->second.node);
    if (--count->second == 0) nodes->second.erase(count);
    if (nodes->second.empty()) needed_.erase(nodes);
  }
  pods_.erase(found);
}

void NodeGraph::put_pod(const schema::Document& document) {
  const core_v1::Pod pod(document);
  const std::string key = key_of("pods", pod.metadata().namespace_(), pod.metadata().name());
  const std::string node(pod.spec().nodeName());
  std::vector<std::string> keys = node.empty() ? std::vector<std::string>{} : keys_of(pod);
  const std::unique_lock lock(mutex_);
  drop_pod(key);
  if (node.empty()) return;
  for (const std::string& needed : keys) ++needed_[needed][node];
  pods_[key] = {node, std::move(keys)};
}

void NodeGraph::remove_pod(std::string_view namespace_, std::string_view name) {
  const std::unique_lock lock(mutex_);
  drop_pod(key_of("pods", namespace_, name));
}

void NodeGraph::drop_volume(const std::string& name) {
  const auto found = volumes_.find(name);
  if (found == volumes_.end()) return;
  for (const std::string& secret : found->second.secrets) {
    const auto users = volumes_of_secret_.find(secret);
    if (users == volumes_of_secret_.end()) continue;
    std::erase(users->second, name);
    if (users->second.empty()) volumes_of_secret_.erase(users);
  }
  volumes_.erase(found);
}

void NodeGraph::put_volume(const schema::Document& document) {
  const core_v1::PersistentVolume volume(document);
  const std::string name(volume.metadata().name());
  VolumeEntry entry;
  const auto claim = volume.spec().claimRef();
  if (!claim.name().empty()) entry.claim = key_of("persistentvolumeclaims", claim.namespace_(), claim.name());
  for (const NamespacedName& secret : secrets_of(volume))
    entry.secrets.push_back(key_of("secrets", secret.namespace_, secret.name));
  const std::unique_lock lock(mutex_);
  drop_volume(name);
  for (const std::string& secret : entry.secrets) volumes_of_secret_[secret].push_back(name);
  volumes_[name] = std::move(entry);
}

void NodeGraph::remove_volume(std::string_view name) {
  const std::unique_lock lock(mutex_);
  drop_volume(std::string(name));
}

void NodeGraph::put_attachment(const schema::Document& document) {
  const storage_v1::VolumeAttachment attachment(document);
  const std::unique_lock lock(mutex_);
  attachments_[std::string(attachment.metadata().name())] = attachment.spec().nodeName();
}

void NodeGraph::remove_attachment(std::string_view name) {
  const std::unique_lock lock(mutex_);
  attachments_.erase(std::string(name));
}

bool NodeGraph::needs(std::string_view node, const std::string& key) const {
  const auto found = needed_.find(key);
  return found != needed_.end() && found->second.contains(node);
}

bool NodeGraph::reaches(std::string_view node, std::string_view what, std::string_view namespace_,
                        std::string_view name) const {
  const std::shared_lock lock(mutex_);
  if (what == "volumeattachments") {
    const auto found = attachments_.find(std::string(name));
    return found != attachments_.end() && found->second == node;
  }
  const auto through = [&](const std::string& volume) {
    const auto found = volumes_.find(volume);
    return found != volumes_.end() && !found->second.claim.empty() && needs(node, found->second.claim);
  };
  if (what == "persistentvolumes") return through(std::string(name));
  const std::string key = key_of(what, namespace_, name);
  if (needs(node, key)) return true;
  const auto volumes = volumes_of_secret_.find(key);
  return volumes != volumes_of_secret_.end() && std::any_of(volumes->second.begin(), volumes->second.end(), through);
}

}  // namespace dure::apiserver
