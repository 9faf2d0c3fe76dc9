#include "schema/rows.h"
#include "schema/text_rules.h"
#include "schema/validate.h"

namespace dure::schema {

namespace {

std::string_view text(const Node* object, std::string_view name) {
  const Node* node = object ? object->find(name) : nullptr;
  return node ? node->string() : std::string_view{};
}

void names(const Node* metadata, const Type& kind, const Path& path, std::vector<Cause>& causes) {
  const std::string_view prefix = text(metadata, "generateName"), name = text(metadata, "name");
  if (!prefix.empty())
    if (const std::string wrong = check_name_prefix(kind.name_format, prefix); !wrong.empty())
      causes.push_back(invalid(path.child("generateName"), prefix, wrong));
  if (name.empty())
    causes.push_back(required(path.child("name"), "name or generateName is required"));
  else if (const std::string wrong = check_format(kind.name_format, name); !wrong.empty())
    causes.push_back(invalid(path.child("name"), name, wrong));
  const std::string_view space = text(metadata, "namespace");
  if (kind.scope == Type::Scope::namespaced) {
    if (space.empty())
      causes.push_back(required(path.child("namespace")));
    else if (const std::string wrong = check_dns1123_label(space); !wrong.empty())
      causes.push_back(invalid(path.child("namespace"), space, wrong));
  } else if (kind.scope == Type::Scope::cluster && !space.empty()) {
    causes.push_back(forbidden(path.child("namespace"), "not allowed on this type"));
  }
}

void owners(const Node* metadata, const Path& path, std::vector<Cause>& causes) {
  const Node* list = metadata->find("ownerReferences");
  const Path at = path.child("ownerReferences");
  uint32_t index = 0;
  std::string controller;
  for (const Node* owner = list ? list->first() : nullptr; owner; owner = owner->next(), ++index) {
    const Path here = at.index(index);
    const std::string_view version = text(owner, "apiVersion");
    if (version.empty()) causes.push_back(invalid(here.child("apiVersion"), version, "version must not be empty"));
    for (const std::string_view name : {"kind", "name", "uid"}) {
      if (!text(owner, name).empty()) continue;
      causes.push_back(invalid(here.child(name), std::string_view(), std::string(name) + " must not be empty"));
    }
    const Node* flag = owner->find("controller");
    if (!flag || !flag->boolean()) continue;
    const std::string who(text(owner, "name"));
    if (!controller.empty())
      causes.push_back(invalid(at, list,
                               "Only one reference can have Controller set to true. Found \"true\" in references for " +
                                   controller + " and " + who));
    else
      controller = who;
  }
}

void finalizers(const Node* metadata, const Path& path, std::vector<Cause>& causes) {
  const Node* list = metadata->find("finalizers");
  const Path at = path.child("finalizers");
  bool orphan = false, foreground = false;
  for (const Node* item = list ? list->first() : nullptr; item; item = item->next()) {
    if (const std::string wrong = check_qualified_name(item->string()); !wrong.empty())
      causes.push_back(invalid(at, item->string(), wrong));
    orphan = orphan || item->string() == "orphan";
    foreground = foreground || item->string() == "foregroundDeletion";
  }
  if (orphan && foreground)
    causes.push_back(invalid(at, list, "finalizer orphan and foregroundDeletion cannot be both set"));
}

void unchanged(const Node* metadata, const Node* old, const Path& path, std::vector<Cause>& causes) {
  for (const std::string_view name :
       {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"}) {
    const Node *now = metadata->find(name), *before = old->find(name);
    if (!equal(now, before)) causes.push_back(invalid(path.child(name), now, "field is immutable"));
  }
}

}  // namespace

void validate_metadata(const Node* metadata, const Node* old, const Type& kind, const Path& path,
                       std::vector<Cause>& causes) {
  if (kind.scope == Type::Scope::none || kind.name_format == Format::none) return;  // reviews have no names
  names(metadata, kind, path, causes);
  if (!metadata) return;
  if (const Node* generation = metadata->find("generation"); generation && generation->integer() < 0)
    causes.push_back(invalid(path.child("generation"), generation->integer(), "must be greater than or equal to 0"));
  owners(metadata, path, causes);
  finalizers(metadata, path, causes);
  if (old) unchanged(metadata, old, path, causes);
}

}  // namespace dure::schema
