// CertificateSigningRequests: the requester is who asks; approval and status each own their part of the conditions.
#include "kinds/hooks/write_rows.h"
#include "kinds/views/certificates_v1.h"

namespace dure::kinds::write {

using certificates_v1::CertificateSigningRequest;
using certificates_v1::CertificateSigningRequestCondition;
using schema::Document;
using schema::Node;

namespace {

bool is_verdict(std::string_view type) { return type == "Approved" || type == "Denied"; }

void restore(Document& object, const Document& old, std::string_view part) {
  if (const Node* before = old.root()->find(part))
    object.copy(object.member(object.root(), part), before);
  else
    object.erase(object.root(), part);
}

void stamp_conditions(WriteWorld& world, CertificateSigningRequest request) {
  if (!request.has_status()) return;
  for (CertificateSigningRequestCondition condition : request.mutable_status().mutable_conditions()) {
    if (!condition.has_lastUpdateTime()) condition.set_lastUpdateTime(format_time(world.now()));
    if (!condition.has_lastTransitionTime()) condition.set_lastTransitionTime(format_time(world.now()));
  }
}

// Conditions of `wanted` where `take` agrees, the others from `old`.
template <class Take>
void merge_conditions(Document& object, const Document& wanted, const Document& old, Take take) {
  CertificateSigningRequest request(object);
  auto status = request.mutable_status();
  status.clear_conditions();
  const auto add_from = [&](const Document& from, bool taken) {
    for (const CertificateSigningRequestCondition c : CertificateSigningRequest(from).status().conditions())
      if (take(c.type()) == taken) object.copy(status.add_conditions().mutable_node(), c.node());
  };
  add_from(old, false);
  add_from(wanted, true);
  if (status.conditions().empty()) status.clear_conditions();
}

}  // namespace

Status create_signing_request(WriteWorld& world, Document& object) {
  CertificateSigningRequest request(object);
  auto spec = request.mutable_spec();
  const Writer& writer = world.writer();
  spec.set_username(writer.user);
  if (writer.uid.empty())
    spec.clear_uid();
  else
    spec.set_uid(writer.uid);
  spec.clear_groups();
  for (const std::string& group : writer.groups) spec.add_groups(group);
  spec.clear_extra();
  Node* node = spec.mutable_node();
  for (const auto& [key, values] : writer.extra) {
    Node* list = object.member(object.member(node, "extra"), key);
    object.make_list(list);
    for (const std::string& value : values) object.set(object.append(list), std::string_view(value));
  }
  return {};
}

Status update_signing_request(WriteWorld&, Document& object, const Document& old) {
  restore(object, old, "spec");
  return {};
}

Status update_signing_request_status(WriteWorld& world, Document& object, const Document& old) {
  const Document wanted = object.clone();
  merge_conditions(object, wanted, old, [](std::string_view type) { return !is_verdict(type); });
  stamp_conditions(world, CertificateSigningRequest(object));
  return {};
}

Status approve_signing_request(WriteWorld& world, std::string_view, Document& object, const Document& old) {
  const Document wanted = object.clone();
  restore(object, old, "spec");
  restore(object, old, "status");
  merge_conditions(object, wanted, old, is_verdict);
  stamp_conditions(world, CertificateSigningRequest(object));
  return {};
}

}  // namespace dure::kinds::write
