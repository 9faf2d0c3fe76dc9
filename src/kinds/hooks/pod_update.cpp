// What may change in a pod that exists: the node carries nothing else out.
#include "kinds/hooks/pod_checks.h"
#include "kinds/hooks/write_rows.h"

namespace dure::kinds {

using namespace schema;
using rules::Causes;
using rules::has;
using rules::is_set;
using rules::text;

namespace {

constexpr std::string_view pod_updates =
    "pod updates may not change fields other than "
    "`spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)";

int64_t number(const Node* object, std::string_view name) {
  const Node* node = object->find(name);
  return node ? node->integer() : 0;
}

Document without(const Node* object, std::initializer_list<std::string_view> parts) {
  Document copy;
  copy.copy(copy.root(), object);
  for (const std::string_view part : parts) copy.erase(copy.root(), part);
  return copy;
}

// The spec without what has checks of its own below.
Document frozen_part(const Node* spec, bool was_gated, bool had_negative_grace) {
  Document copy = without(spec, {"activeDeadlineSeconds", "tolerations", "nodeName", "schedulingGates"});
  // What waits for its gates may still be given a narrower choice of nodes.
  if (was_gated)
    for (const std::string_view name : {"nodeSelector", "affinity"}) copy.erase(copy.root(), name);
  if (had_negative_grace && number(spec, "terminationGracePeriodSeconds") == 1)
    copy.set(copy.member(copy.root(), "terminationGracePeriodSeconds"), int64_t{-1});
  for (const std::string_view list : {"containers", "initContainers"}) {
    Node* containers = copy.root()->find(list);
    for (Node* container = containers ? containers->first() : nullptr; container; container = container->next())
      copy.erase(container, "image");
  }
  return copy;
}

// Whether every item of `part` of one is in the other, `mutable_part` of the items aside.
bool all_in(const Node* one, const Node* other, std::string_view part, std::string_view mutable_part) {
  const Node *items = one->find(part), *others = other->find(part);
  for (const Node* item = items ? items->first() : nullptr; item; item = item->next()) {
    const Document wanted = without(item, {mutable_part});
    bool found = false;
    for (const Node* have = others ? others->first() : nullptr; have && !found; have = have->next())
      found = equal(without(have, {mutable_part}).root(), wanted.root());
    if (!found) return false;
  }
  return true;
}

void check_deadline(const Node* spec, const Node* before, const Path& path, Causes& causes) {
  constexpr std::string_view name = "activeDeadlineSeconds";
  if (!has(before, name)) return;
  if (!has(spec, name))
    causes.push_back(
        invalid(path.child(name), spec->find(name), "must not update from a positive integer to nil value"));
  else if (number(spec, name) > number(before, name))
    causes.push_back(
        invalid(path.child(name), number(spec, name), "must be less than or equal to previous value"));
}

}  // namespace

void pods::validate_pod(const Node* object, const Node* old, const Path& path, Causes& causes) {
  if (!old) return;
  const Node *spec = object->find("spec"), *before = old->find("spec");
  if (!spec || !before || equal(spec, before)) return;
  const Path at = path.child("spec");
  const bool was_gated = is_set(before, "schedulingGates");
  const bool had_negative_grace = number(before, "terminationGracePeriodSeconds") < 0;
  check_deadline(spec, before, at, causes);
  if (!all_in(before, spec, "tolerations", "tolerationSeconds"))
    causes.push_back(
        forbidden(at.child("tolerations"), "existing toleration can not be modified except its tolerationSeconds"));
  if (!all_in(spec, before, "schedulingGates", {}))
    causes.push_back(forbidden(at.child("schedulingGates"), "only deletion is allowed, but found a new scheduling gate"));
  const bool moved = is_set(before, "nodeName") && text(spec, "nodeName") != text(before, "nodeName");
  if (moved || !equal(frozen_part(spec, was_gated, had_negative_grace).root(),
                      frozen_part(before, was_gated, had_negative_grace).root()))
    causes.push_back(forbidden(at, pod_updates));
}

// The node of a pod is chosen by a Binding.
Status write::update_pod(WriteWorld&, Document& object, const Document& old) {
  if (text(object.root()->find("spec"), "nodeName") == text(old.root()->find("spec"), "nodeName")) return {};
  return fail(invalid_fields({forbidden(Path().child("spec"), pod_updates)}));
}

}  // namespace dure::kinds
