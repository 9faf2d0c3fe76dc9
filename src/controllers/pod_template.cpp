#include "controllers/pod_template.h"

#include <algorithm>

#include "base/text.h"
#include "controllers/claims.h"

namespace dure::controllers {
namespace {

class Hasher {
 public:
  void byte(uint8_t value) { hash_ = (hash_ ^ value) * 16777619u; }
  void bytes(std::string_view text) {
    for (const char c : text) byte(static_cast<uint8_t>(c));
    byte(0xff);
  }
  void number(int64_t value) {
    for (int shift = 0; shift < 64; shift += 8) byte(static_cast<uint8_t>(static_cast<uint64_t>(value) >> shift));
  }
  void node(const Node* node) {
    byte(static_cast<uint8_t>(node->kind()));
    switch (node->kind()) {
      case schema::Kind::null:
        break;
      case schema::Kind::boolean:
        byte(node->boolean());
        break;
      case schema::Kind::integer:
        number(node->integer());
        break;
      case schema::Kind::number:
        bytes(std::to_string(node->number()));
        break;
      case schema::Kind::string:
        bytes(node->string());
        break;
      case schema::Kind::list:
      case schema::Kind::object:
        for (const Node* child = node->first(); child; child = child->next()) {
          if (is_nothing(child)) continue;
          bytes(child->key());
          this->node(child);
        }
        byte(0xfe);
    }
  }
  uint32_t value() const { return hash_; }

 private:
  // "creationTimestamp": null and friends say nothing.
  static bool is_nothing(const Node* node) { return !node->key().empty() && node->is_null(); }
  uint32_t hash_ = 2166136261u;
};

std::string safe_text(uint32_t hash) {
  static constexpr std::string_view alphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string text = std::to_string(hash);
  for (char& c : text) c = alphabet[static_cast<uint8_t>(c) % alphabet.size()];
  return text;
}

void copy_member(Document& to, Node* parent, std::string_view key, const Node* from) {
  if (from && !from->is_null()) to.copy(to.member(parent, key), from);
}

bool is_empty(const Node* node) { return !node || node->is_null() || (node->is_container() && node->size() == 0); }

bool same_part(const Node* a, const Node* b) {
  if (is_empty(a) || is_empty(b)) return is_empty(a) && is_empty(b);
  return schema::equal(a, b);
}

bool same_labels(const Node* a, const Node* b, std::string_view ignored) {
  auto covers = [&](const Node* one, const Node* other) {
    for (const Node* label = one ? one->first() : nullptr; label; label = label->next()) {
      if (label->key() == ignored) continue;
      const Node* twin = other ? other->find(label->key()) : nullptr;
      if (!twin || twin->string() != label->string()) return false;
    }
    return true;
  };
  return covers(a, b) && covers(b, a);
}

}  // namespace

Document pod_from_template(const core::PodTemplateSpec& pod_template, const Resource& owner_resource,
                           const Object& owner) {
  Document pod(*core::pods.type);
  Node* root = pod.root();
  pod.set(pod.member(root, "apiVersion"), "v1");
  pod.set(pod.member(root, "kind"), "Pod");
  Node* metadata = pod.member(root, "metadata");
  pod.set(pod.member(metadata, "generateName"), std::string_view(std::string(client::name_of(owner)) + "-"));
  pod.set(pod.member(metadata, "namespace"), client::namespace_of(owner));
  const Node* from = pod_template.metadata().node();
  for (const std::string_view part : {"labels", "annotations", "finalizers"})
    if (from) copy_member(pod, metadata, part, from->find(part));
  set_controller(pod, owner_resource, owner);
  copy_member(pod, root, "spec", pod_template.spec().node());
  return pod;
}

std::string template_hash(const Node* pod_template, std::optional<int64_t> collision_count) {
  Hasher hasher;
  if (pod_template) hasher.node(pod_template);
  if (collision_count) hasher.number(*collision_count);
  return safe_text(hasher.value());
}

bool equal_templates(const Node* a, const Node* b, std::string_view hash_label) {
  if (!a || !b) return a == b;
  if (!same_part(a->find("spec"), b->find("spec"))) return false;
  const Node* a_meta = a->find("metadata");
  const Node* b_meta = b->find("metadata");
  for (const std::string_view part : {"annotations", "finalizers"})
    if (!same_part(a_meta ? a_meta->find(part) : nullptr, b_meta ? b_meta->find(part) : nullptr)) return false;
  return same_labels(a_meta ? a_meta->find("labels") : nullptr, b_meta ? b_meta->find("labels") : nullptr, hash_label);
}

}  // namespace dure::controllers
