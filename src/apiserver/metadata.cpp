#include "apiserver/metadata.h"

#include <algorithm>

#include <fmt/format.h>

#include "apiserver/names.h"
#include "schema/rows.h"

namespace dure::apiserver {

using schema::Document;
using schema::Node;

namespace {

const Node* metadata_of(const Document& object) { return object.root()->find("metadata"); }

const Node* metadata_node(const Document& object, std::string_view key) {
  const Node* metadata = metadata_of(object);
  return metadata ? metadata->find(key) : nullptr;
}

// Makes metadata.<key> of `object` what it is in `old`.
void carry(Document& object, const Document& old, std::string_view key) {
  Node* metadata = object.member(object.root(), "metadata");
  const Node* before = metadata_node(old, key);
  if (before && !before->is_null())
    object.copy(object.member(metadata, key), before);
  else
    object.erase(metadata, key);
}

// Makes the top-level member `key` of `object` what it is in `old`.
void carry_member(Document& object, const Document& old, std::string_view key) {
  const Node* before = old.root()->find(key);
  if (before && !before->is_null())
    object.copy(object.member(object.root(), key), before);
  else
    object.erase(object.root(), key);
}

bool is_spec_like(std::string_view key) {
  return key != "metadata" && key != "status" && key != "kind" && key != "apiVersion";
}

bool is_nothing(const Node* node) { return !node || node->is_null() || (node->is_container() && !node->first()); }

bool same_member(const Node* a, const Node* b) {
  if (is_nothing(a) && is_nothing(b)) return true;
  return a && b && schema::equal(a, b);
}

std::string quoted_invalid(std::string_view value, std::string_view why) {
  return fmt::format("Invalid value: \"{}\": {}", value, why);
}

void check_name(const Served& served, const Document& object, std::vector<Cause>& causes) {
  const std::string_view name = name_of(object), generate = metadata_text(object, "generateName");
  const kinds::NameRule rule = served.hooks->names;
  if (!generate.empty()) {
    std::string_view stem = generate;  // a trailing dash is completed by the suffix
    if (stem.ends_with('-') && stem.size() > 1) stem.remove_suffix(1);
    const std::string masked =
        stem.ends_with('-') ? std::string(stem.substr(0, stem.size() - 1)) + "a" : std::string(stem);
    if (const std::string why = name_problem(masked, rule); !why.empty())
      causes.push_back({"FieldValueInvalid", quoted_invalid(generate, why), "metadata.generateName"});
  }
  if (name.empty()) {
    causes.push_back({"FieldValueRequired", "Required value: name or generateName is required", "metadata.name"});
  } else if (const std::string why = name_problem(name, rule); !why.empty()) {
    causes.push_back({"FieldValueInvalid", quoted_invalid(name, why), "metadata.name"});
  }
}

void check_labels(const Node* labels, std::vector<Cause>& causes) {
  for (const Node* label = labels ? labels->first() : nullptr; label; label = label->next()) {
    if (const std::string why = label_key_problem(label->key()); !why.empty())
      causes.push_back({"FieldValueInvalid", quoted_invalid(label->key(), why), "metadata.labels"});
    if (const std::string why = label_value_problem(label->string()); !why.empty())
      causes.push_back({"FieldValueInvalid", quoted_invalid(label->string(), why), "metadata.labels"});
  }
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return out;
}

void check_annotations(const Node* annotations, std::vector<Cause>& causes) {
  size_t total = 0;
  for (const Node* a = annotations ? annotations->first() : nullptr; a; a = a->next()) {
    total += a->key().size() + a->string().size();
    if (const std::string why = label_key_problem(lowered(a->key())); !why.empty())
      causes.push_back({"FieldValueInvalid", quoted_invalid(a->key(), why), "metadata.annotations"});
  }
  if (total > 256 << 10)
    causes.push_back({"FieldValueTooLong", "Too long: may not be more than 262144 bytes", "metadata.annotations"});
}

void check_owners(const Node* owners, std::vector<Cause>& causes) {
  int controllers = 0;
  uint32_t index = 0;
  for (const Node* owner = owners ? owners->first() : nullptr; owner; owner = owner->next(), ++index) {
    const std::string at = fmt::format("metadata.ownerReferences[{}]", index);
    for (const std::string_view key : {"apiVersion", "kind", "name", "uid"}) {
      const Node* value = owner->find(key);
      if (!value || value->string().empty())
        causes.push_back(
            {"FieldValueInvalid",
             quoted_invalid("", fmt::format("{} must not be empty", key == "apiVersion" ? "version" : key)),
             fmt::format("{}.{}", at, key)});
    }
    const Node* controller = owner->find("controller");
    if (controller && controller->boolean()) ++controllers;
  }
  if (controllers > 1)
    causes.push_back({"FieldValueInvalid", "Invalid value: Only one reference can have Controller set to true",
                      "metadata.ownerReferences"});
}

void check_finalizers(const Document& object, const Document* old, std::vector<Cause>& causes) {
  const Node* finalizers = metadata_node(object, "finalizers");
  bool orphan = false, foreground = false;
  std::string added;
  for (const Node* f = finalizers ? finalizers->first() : nullptr; f; f = f->next()) {
    if (const std::string why = label_key_problem(f->string()); !why.empty())
      causes.push_back({"FieldValueInvalid", quoted_invalid(f->string(), why), "metadata.finalizers"});
    orphan |= f->string() == "orphan";
    foreground |= f->string() == "foregroundDeletion";
    if (old && is_being_deleted(*old) && !has_finalizer(*old, f->string()))
      added += fmt::format("{}\"{}\"", added.empty() ? "" : ", ", f->string());
  }
  if (orphan && foreground)
    causes.push_back({"FieldValueInvalid", "Invalid value: finalizer orphan and foregroundDeletion cannot be both set",
                      "metadata.finalizers"});
  if (!added.empty())
    causes.push_back({"FieldValueForbidden",
                      fmt::format("Forbidden: no new finalizers can be added if the object is being deleted, found new "
                                  "finalizers []string{{{}}}",
                                  added),
                      "metadata.finalizers"});
}

}  // namespace

std::string_view metadata_text(const Document& object, std::string_view key) {
  const Node* node = metadata_node(object, key);
  return node ? node->string() : std::string_view{};
}

bool is_being_deleted(const Document& object) { return !metadata_text(object, "deletionTimestamp").empty(); }

bool has_finalizer(const Document& object, std::string_view finalizer) {
  const Node* finalizers = metadata_node(object, "finalizers");
  for (const Node* f = finalizers ? finalizers->first() : nullptr; f; f = f->next())
    if (f->string() == finalizer) return true;
  return false;
}

size_t finalizer_count(const Document& object) {
  const Node* finalizers = metadata_node(object, "finalizers");
  return finalizers ? finalizers->size() : 0;
}

std::string random_suffix(const std::function<uint64_t()>& random) {
  static constexpr std::string_view alphabet = "bcdfghjklmnpqrstvwxz2456789";
  uint64_t bits = random();
  std::string suffix;
  for (int i = 0; i < 5; ++i, bits /= alphabet.size()) suffix += alphabet[bits % alphabet.size()];
  return suffix;
}

std::string random_uid(const std::function<uint64_t()>& random) {
  const uint64_t a = random(), b = random();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xfff,
                     0x8000 | (b >> 48 & 0x3fff), b & 0xffffffffffff);
}

void begin_metadata(const Served& served, Document& object, const Creation& creation) {
  Node* metadata = object.member(object.root(), "metadata");
  if (metadata->is_null()) object.make_object(metadata);
  for (const std::string_view key : {"deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"})
    object.erase(metadata, key);
  if (served.resource->namespaced)
    object.set(object.member(metadata, "namespace"), creation.namespace_);
  else
    object.erase(metadata, "namespace");
  const std::string generate(metadata_text(object, "generateName"));
  if (name_of(object).empty() && !generate.empty())
    object.set(object.member(metadata, "name"), generate.substr(0, 58) + random_suffix(creation.random));
  object.set(object.member(metadata, "uid"), random_uid(creation.random));
  object.set(object.member(metadata, "creationTimestamp"), format_time(creation.now));
  if (served.keeps_generation)
    object.set(object.member(metadata, "generation"), int64_t{1});
  else
    object.erase(metadata, "generation");
}

void carry_metadata(const Served& served, Document& object, const Document& old) {
  Node* metadata = object.member(object.root(), "metadata");
  if (metadata->is_null()) object.make_object(metadata);
  for (const std::string_view key : {"name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp",
                                     "deletionGracePeriodSeconds", "generateName"})
    carry(object, old, key);
  object.erase(metadata, "selfLink");
  if (!metadata->find("managedFields")) carry(object, old, "managedFields");
}

void bump_generation(Document& object, const Document& old) {
  bool changed = false;
  for (const Node* m = object.root()->first(); m && !changed; m = m->next())
    if (is_spec_like(m->key())) changed = !same_member(m, old.root()->find(m->key()));
  for (const Node* m = old.root()->first(); m && !changed; m = m->next())
    if (is_spec_like(m->key())) changed = !same_member(m, object.root()->find(m->key()));
  const Node* before = metadata_node(old, "generation");
  const int64_t generation = (before ? before->integer() : 0) + (changed ? 1 : 0);
  if (generation > 0) object.set(object.member(object.member(object.root(), "metadata"), "generation"), generation);
}

void keep_all_but_status(Document& object, const Document& old) {
  std::vector<std::string> keys;
  for (const Node* m = object.root()->first(); m; m = m->next())
    if (is_spec_like(m->key())) keys.emplace_back(m->key());
  for (const Node* m = old.root()->first(); m; m = m->next())
    if (is_spec_like(m->key())) keys.emplace_back(m->key());
  for (const std::string& key : keys) carry_member(object, old, key);
}

void keep_status(Document& object, const Document& old) { carry_member(object, old, "status"); }

std::vector<Cause> validate_metadata(const Served& served, const Document& object, const Document* old) {
  std::vector<Cause> causes;
  if (!old) check_name(served, object, causes);
  check_labels(metadata_node(object, "labels"), causes);
  check_annotations(metadata_node(object, "annotations"), causes);
  check_owners(metadata_node(object, "ownerReferences"), causes);
  check_finalizers(object, old, causes);
  return causes;
}

}  // namespace dure::apiserver
