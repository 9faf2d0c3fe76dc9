// What may change in a pod that exists: the node carries nothing else out. Upstream: ValidatePodUpdate.
#include "base/text.h"
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
  if (was_gated) {
    copy.erase(copy.root(), "nodeSelector");
    Node* affinity = copy.root()->find("affinity");
    if (affinity) copy.erase(affinity, "nodeAffinity");
    if (affinity && !affinity->first()) copy.erase(copy.root(), "affinity");
  }
  if (had_negative_grace && number(spec, "terminationGracePeriodSeconds") == 1)
    copy.set(copy.member(copy.root(), "terminationGracePeriodSeconds"), int64_t{-1});
  for (const std::string_view list : {"containers", "initContainers"}) {
    Node* containers = copy.root()->find(list);
    for (Node* container = containers ? containers->first() : nullptr; container; container = container->next())
      copy.erase(container, "image");
  }
  return copy;
}

uint32_t count(const Node* object, std::string_view list) {
  const Node* node = object ? object->find(list) : nullptr;
  return node ? node->size() : 0;
}

void check_images(const Node* spec, const Path& path, Causes& causes) {
  for (const std::string_view list : {"containers", "initContainers"}) {
    const Node* containers = spec->find(list);
    uint32_t index = 0;
    for (const Node* one = containers ? containers->first() : nullptr; one; one = one->next(), ++index)
      if (const std::string_view image = text(one, "image"); trim(image) != image)
        causes.push_back(invalid(path.child(list).index(index).child("image"), image,
                                 "must not have leading or trailing whitespace"));
  }
}

void check_tolerations(const Node* spec, const Node* before, const Path& path, Causes& causes) {
  const Node *tolerations = spec->find("tolerations"), *old = before->find("tolerations");
  for (const Node* had = old ? old->first() : nullptr; had; had = had->next()) {
    const Document wanted = without(had, {"tolerationSeconds"});
    bool found = false;
    for (const Node* have = tolerations ? tolerations->first() : nullptr; have && !found; have = have->next())
      found = equal(without(have, {"tolerationSeconds"}).root(), wanted.root());
    if (found) continue;
    causes.push_back(
        forbidden(path.child("tolerations"), "existing toleration can not be modified except its tolerationSeconds"));
    return;
  }
}

// False: what follows is not judged.
bool check_deadline(const Node* spec, const Node* before, const Path& path, Causes& causes) {
  constexpr std::string_view name = "activeDeadlineSeconds";
  if (!has(before, name)) return true;
  if (!has(spec, name))
    causes.push_back(
        invalid(path.child(name), spec->find(name), "must not update from a positive integer to nil value"));
  else if (number(spec, name) > number(before, name)) {
    causes.push_back(invalid(path.child(name), number(spec, name), "must be less than or equal to previous value"));
    return false;
  }
  return true;
}

void check_gates(const Node* spec, const Node* before, const Path& path, Causes& causes) {
  const Node *gates = spec->find("schedulingGates"), *old = before->find("schedulingGates");
  uint32_t index = 0;
  for (const Node* gate = gates ? gates->first() : nullptr; gate; gate = gate->next(), ++index) {
    const std::string_view name = text(gate, "name");
    bool known = false;
    for (const Node* had = old ? old->first() : nullptr; had && !known; had = had->next())
      known = text(had, "name") == name;
    if (!known)
      causes.push_back(
          forbidden(path.child("schedulingGates").index(index).child("name"),
                    "only deletion is allowed, but found new scheduling gate '" + std::string(name) + "'"));
  }
}

// --- what waits for its gates may still be given a narrower choice of nodes

void check_node_selector(const Node* spec, const Node* before, const Path& path, Causes& causes) {
  const Node *now = spec->find("nodeSelector"), *old = before->find("nodeSelector");
  for (const Node* had = old ? old->first() : nullptr; had; had = had->next()) {
    const Node* have = now ? now->find(had->key()) : nullptr;
    if (have && have->string() == had->string()) continue;
    causes.push_back(invalid(path.child("nodeSelector"), now,
                             "only additions to spec.nodeSelector are allowed (no mutations or deletions)"));
    return;
  }
}

// Requirements of one term are joined by AND: more of them at the end make it stricter.
bool only_adds(const Node* term, const Node* old, std::string_view list) {
  const Node *now = term->find(list), *had = old->find(list);
  const Node* have = now ? now->first() : nullptr;
  for (const Node* one = had ? had->first() : nullptr; one; one = one->next(), have = have->next())
    if (!have || !equal(one, have)) return false;
  return true;
}

// A term without requirements selects nothing: one more would make it wider.
bool is_stricter(const Node* term, const Node* old) {
  const auto is_empty = [](const Node* one) { return count(one, "matchExpressions") + count(one, "matchFields") == 0; };
  if (is_empty(old)) return is_empty(term);
  return only_adds(term, old, "matchExpressions") && only_adds(term, old, "matchFields");
}

void check_node_affinity(const Node* spec, const Node* before, const Path& path, Causes& causes) {
  constexpr std::string_view required = "requiredDuringSchedulingIgnoredDuringExecution";
  const Node* old = before->find("affinity", "nodeAffinity", required, "nodeSelectorTerms");
  if (!old || old->size() == 0) return;
  const Node* now = spec->find("affinity", "nodeAffinity", required, "nodeSelectorTerms");
  const Path affinity = path.child("affinity"), nodes = affinity.child("nodeAffinity");
  const Path terms = nodes.child(required), at = terms.child("nodeSelectorTerms");
  if (!now || now->size() != old->size()) {
    causes.push_back(invalid(at, now, "no additions/deletions to non-empty NodeSelectorTerms list are allowed"));
    return;
  }
  const Node* had = old->first();
  uint32_t index = 0;
  for (const Node* term = now->first(); term; term = term->next(), had = had->next(), ++index)
    if (!is_stricter(term, had))
      causes.push_back(invalid(at.index(index), term, "only additions are allowed (no mutations or deletions)"));
}

void check_update(const Node* spec, const Node* before, const Path& at, Causes& causes) {
  for (const std::string_view list : {"containers", "initContainers"})
    if (count(spec, list) != count(before, list)) {
      causes.push_back(forbidden(at.child(list), "pod updates may not add or remove containers"));
      return;
    }
  if (!check_deadline(spec, before, at, causes)) return;
  check_tolerations(spec, before, at, causes);
  check_gates(spec, before, at, causes);
  const bool was_gated = is_set(before, "schedulingGates");
  if (was_gated) {
    check_node_selector(spec, before, at, causes);
    check_node_affinity(spec, before, at, causes);
  }
  const bool had_negative_grace = number(before, "terminationGracePeriodSeconds") < 0;
  const bool moved = is_set(before, "nodeName") && text(spec, "nodeName") != text(before, "nodeName");
  if (moved || !equal(frozen_part(spec, was_gated, had_negative_grace).root(),
                      frozen_part(before, was_gated, had_negative_grace).root()))
    causes.push_back(forbidden(at, pod_updates));
}

}  // namespace

void pods::validate_pod(const Node* object, const Node* old, const Path& path, Causes& causes) {
  const Node *spec = object->find("spec"), *before = old ? old->find("spec") : nullptr;
  const Path at = path.child("spec");
  if (!spec || (before && equal(spec, before))) return;
  check_images(spec, at, causes);
  if (before)
    check_update(spec, before, at, causes);
  else if (!old && is_set(spec, "nodeName") && is_set(spec, "schedulingGates"))
    causes.push_back(forbidden(at.child("nodeName"), "cannot be set until all schedulingGates have been cleared"));
}

// The node of a pod is chosen by a Binding.
Status write::update_pod(WriteWorld&, Document& object, const Document& old) {
  if (text(object.root()->find("spec"), "nodeName") == text(old.root()->find("spec"), "nodeName")) return {};
  return fail(invalid_fields({forbidden(Path().child("spec"), pod_updates)}));
}

}  // namespace dure::kinds
