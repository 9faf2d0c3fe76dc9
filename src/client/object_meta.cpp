#include "client/object_meta.h"

#include "base/text.h"

namespace dure::client {
namespace {

std::string_view text_of(const schema::Node* node, std::string_view key) {
  const schema::Node* child = node ? node->find(key) : nullptr;
  return child ? child->string() : std::string_view{};
}

bool flag_of(const schema::Node* node, std::string_view key) {
  const schema::Node* child = node->find(key);
  return child && child->boolean();
}

OwnerReference owner_from(const schema::Node* item) {
  return {text_of(item, "apiVersion"), text_of(item, "kind"),       text_of(item, "name"),
          text_of(item, "uid"),        flag_of(item, "controller"), flag_of(item, "blockOwnerDeletion")};
}

std::string_view map_value(const schema::Object& object, std::string_view map, std::string_view key) {
  const schema::Node* meta = metadata_of(*object);
  return text_of(meta ? meta->find(map) : nullptr, key);
}

}  // namespace

const schema::Node* metadata_of(const schema::Document& object) {
  return object.root() ? object.root()->find("metadata") : nullptr;
}

std::string_view meta_string(const schema::Object& object, std::string_view field) {
  return text_of(metadata_of(*object), field);
}

Key key_of(const schema::Document& object) {
  const schema::Node* meta = metadata_of(object);
  return {std::string(text_of(meta, "namespace")), std::string(text_of(meta, "name"))};
}
Key key_of(const schema::Object& object) { return key_of(*object); }
std::string_view uid_of(const schema::Object& object) { return meta_string(object, "uid"); }
std::string_view name_of(const schema::Object& object) { return meta_string(object, "name"); }
std::string_view namespace_of(const schema::Object& object) { return meta_string(object, "namespace"); }
std::string_view resource_version_of(const schema::Object& object) { return meta_string(object, "resourceVersion"); }
int64_t revision_of(const schema::Object& object) { return parse_int(resource_version_of(object)).value_or(0); }

int64_t generation_of(const schema::Object& object) {
  const schema::Node* meta = metadata_of(*object);
  const schema::Node* generation = meta ? meta->find("generation") : nullptr;
  return generation ? generation->integer() : 0;
}

bool is_terminating(const schema::Object& object) { return !meta_string(object, "deletionTimestamp").empty(); }

std::string_view label(const schema::Object& object, std::string_view key) { return map_value(object, "labels", key); }
std::string_view annotation(const schema::Object& object, std::string_view key) {
  return map_value(object, "annotations", key);
}

bool has_finalizer(const schema::Object& object, std::string_view finalizer) {
  const schema::Node* meta = metadata_of(*object);
  const schema::Node* list = meta ? meta->find("finalizers") : nullptr;
  for (const schema::Node* item = list ? list->first() : nullptr; item; item = item->next())
    if (item->string() == finalizer) return true;
  return false;
}

std::vector<OwnerReference> owners_of(const schema::Object& object) {
  std::vector<OwnerReference> owners;
  const schema::Node* meta = metadata_of(*object);
  const schema::Node* list = meta ? meta->find("ownerReferences") : nullptr;
  for (const schema::Node* item = list ? list->first() : nullptr; item; item = item->next())
    owners.push_back(owner_from(item));
  return owners;
}

OwnerReference controller_of(const schema::Object& object) {
  const schema::Node* meta = metadata_of(*object);
  const schema::Node* list = meta ? meta->find("ownerReferences") : nullptr;
  for (const schema::Node* item = list ? list->first() : nullptr; item; item = item->next())
    if (flag_of(item, "controller")) return owner_from(item);
  return {};
}

}  // namespace dure::client
