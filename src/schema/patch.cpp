#include "schema/patch.h"

#include "schema/json.h"

namespace dure::schema {
namespace {

Result<Document> untyped_copy(const Document& current) { return decode_json(SharedBytes(to_json(current))); }

Status merge(Document& target, Node* node, const Node* patch) {
  if (patch->kind() != Kind::object) {
    target.copy(node, patch);
    return {};
  }
  if (node->kind() != Kind::object) target.make_object(node);
  for (const Node* change = patch->first(); change; change = change->next()) {
    if (change->is_null())
      target.erase(node, change->key());
    else
      DURE_CHECK(merge(target, target.member(node, change->key()), change));
  }
  return {};
}

}  // namespace

Result<Document> apply_merge_patch(const Document& current, std::string_view text) {
  DURE_TRY(const Document patch, decode_json(SharedBytes(std::string(text))));
  if (patch.root()->kind() != Kind::object) return fail(bad_request("a merge patch must be a JSON object"));
  DURE_TRY(Document result, untyped_copy(current));
  DURE_CHECK(merge(result, result.root(), patch.root()));
  return result;
}

}  // namespace dure::schema
