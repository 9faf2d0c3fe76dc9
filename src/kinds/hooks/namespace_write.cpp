// Namespaces: born Active with a finalizer of their own in spec, Terminating once deleted, gone when both lists of
// finalizers are empty.
#include "kinds/hooks/write_rows.h"
#include "kinds/views/core_v1.h"

namespace dure::kinds::write {

using core_v1::Namespace;
using schema::Document;
using schema::Node;

namespace {

void carry_finalizers(Document& object, const Document& old) {
  if (const Node* before = old.root()->find("spec", "finalizers"))
    object.copy(object.member(object.member(object.root(), "spec"), "finalizers"), before);
  else if (Node* spec = object.root()->find("spec"))
    object.erase(spec, "finalizers");
}

void label_with_name(Namespace object) {
  object.mutable_metadata().set_labels("kubernetes.io/metadata.name", std::string(object.metadata().name()));
}

}  // namespace

Status create_namespace(WriteWorld&, Document& object) {
  Namespace ns(object);
  label_with_name(ns);
  if (!ns.spec().finalizers().contains("kubernetes")) ns.mutable_spec().add_finalizers("kubernetes");
  ns.mutable_status().set_phase("Active");
  return {};
}

Status update_namespace(WriteWorld&, Document& object, const Document& old) {
  carry_finalizers(object, old);
  label_with_name(Namespace(object));
  return {};
}

Status finalize_namespace(WriteWorld&, std::string_view, Document& object, const Document& old) {
  if (const Node* before = old.root()->find("status"))
    object.copy(object.member(object.root(), "status"), before);
  return {};
}

void mark_namespace_deleted(WriteWorld&, Document& object) {
  Namespace(object).mutable_status().set_phase("Terminating");
}

bool namespace_may_vanish(const Document& object) { return Namespace(object).spec().finalizers().empty(); }

}  // namespace dure::kinds::write
