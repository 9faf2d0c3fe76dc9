#include <algorithm>
#include <string>
#include <vector>

#include "schema/json.h"
#include "schema/patch.h"

namespace dure::schema {
namespace {

constexpr std::string_view kPatch = "$patch", kRetainKeys = "$retainKeys", kDelete = "$deleteFromPrimitiveList/",
                           kOrder = "$setElementOrder/";

bool is_directive(std::string_view key) {
  return key == kPatch || key == kRetainKeys || key.starts_with(kDelete) || key.starts_with(kOrder);
}

std::string_view directive_of(const Node* object) {
  const Node* directive = object->kind() == Kind::object ? object->find(kPatch) : nullptr;
  return directive ? directive->string() : std::string_view{};
}

bool contains(const Node* list, const Node* value) {
  for (const Node* item = list ? list->first() : nullptr; item; item = item->next())
    if (equal(item, value)) return true;
  return false;
}

int position(const Node* list, const Node* key, std::string_view merge_key) {
  int at = 0;
  for (const Node* item = list ? list->first() : nullptr; item; item = item->next(), ++at) {
    const Node* other = merge_key.empty() ? item : item->find(merge_key);
    if (other && key && equal(other, key)) return at;
  }
  return -1;
}

// What an element is known by: itself, or the value of its merge key.
const Node* identity(const Node* item, std::string_view merge_key) {
  return merge_key.empty() ? item : item->find(merge_key);
}

class Merger {
 public:
  explicit Merger(Document& target) : target_(target) {}

  // `type` null: a map, or a part without rows; then plain merging.
  Status merge_object(Node* node, const Node* patch, const Type* type) {
    const std::string_view directive = directive_of(patch);
    if (directive == "replace") {
      target_.make_object(node);
      for (const Node* member = patch->first(); member; member = member->next())
        if (!is_directive(member->key())) take(target_.member(node, member->key()), member);
      return {};
    }
    if (directive == "delete") {
      target_.make_object(node);
      return {};
    }
    if (!directive.empty() && directive != "merge")
      return fail(bad_request("unknown $patch directive \"" + std::string(directive) + "\""));
    if (const Node* keep = patch->find(kRetainKeys)) DURE_CHECK(retain(node, keep));
    for (const Node* change = patch->first(); change; change = change->next())
      if (change->key().starts_with(kDelete)) remove_values(node->find(change->key().substr(kDelete.size())), change);
    for (const Node* change = patch->first(); change; change = change->next())
      if (!is_directive(change->key()))
        DURE_CHECK(merge_member(node, change, type ? type->find(change->key()) : nullptr));
    for (const Node* order = patch->first(); order; order = order->next())
      if (order->key().starts_with(kOrder)) DURE_CHECK(set_order(node, patch, order, type));
    return {};
  }

 private:
  Status merge_member(Node* node, const Node* change, const Field* field) {
    if (change->is_null()) {
      target_.erase(node, change->key());
      return {};
    }
    Node* now = node->find(change->key());
    if (!now || now->kind() != change->kind() || !now->is_container() ||
        (field && field->patch_replace && !field->patch_merge)) {
      take(target_.member(node, change->key()), change);
      return {};
    }
    if (change->kind() == Kind::object)
      return merge_object(now, change, field && field->shape == Shape::single ? field->type : nullptr);
    if (!field || !field->patch_merge) {
      take(now, change);
      return {};
    }
    return merge_list(now, change, *field);
  }

  static std::string_view merge_key_of(const Field& field) {
    return field.rules ? field.rules->merge_key : std::string_view{};
  }

  Status merge_list(Node* list, const Node* patch, const Field& field) {
    const std::string_view merge_key = merge_key_of(field);
    Document before;
    before.copy(before.root(), list);
    bool replace_all = false;
    for (const Node* item = patch->first(); item; item = item->next())
      replace_all = replace_all || directive_of(item) == "replace";
    if (replace_all) target_.make_list(list);
    for (const Node* item = patch->first(); item; item = item->next()) {
      const std::string_view directive = directive_of(item);
      if (directive == "replace") continue;
      if (merge_key.empty()) {
        if (!contains(list, item)) target_.copy(target_.append(list), item);
        continue;
      }
      const Node* key = item->find(merge_key);
      if (!key)
        return fail(
            bad_request("map: " + text_of(item) + " does not contain declared merge key: " + std::string(merge_key)));
      Node* found = find(list, key, merge_key);
      if (directive == "delete") {
        for (; found; found = find(list, key, merge_key)) target_.erase(list, found);
      } else if (found) {
        DURE_CHECK(merge_object(found, item, field.type));
      } else {
        take(target_.append(list), item);
      }
    }
    if (!replace_all) arrange(list, patch, before.root(), merge_key);
    return {};
  }

  static Node* find(Node* list, const Node* key, std::string_view merge_key) {
    for (Node* item = list->first(); item; item = item->next())
      if (const Node* other = item->find(merge_key); other && equal(other, key)) return item;
    return nullptr;
  }

  // Elements that `order` names stand in its order; the others keep their place among those that were there before.
  void arrange(Node* list, const Node* order, const Node* before, std::string_view merge_key) {
    struct Place {
      const Node* item;
      int ordered, former;
    };
    std::vector<Place> named, others;
    for (const Node* item = list->first(); item; item = item->next()) {
      const Node* key = identity(item, merge_key);
      const Place place{item, position(order, key, merge_key), position(before, key, merge_key)};
      (place.ordered >= 0 ? named : others).push_back(place);
    }
    std::sort(named.begin(), named.end(), [](const Place& a, const Place& b) { return a.ordered < b.ordered; });
    std::sort(others.begin(), others.end(), [](const Place& a, const Place& b) { return a.former < b.former; });
    Document arranged;
    Node* out = arranged.member(arranged.root(), "items");
    arranged.make_list(out);
    size_t other = 0;
    for (const Place& place : named) {
      // New elements have no former place: those that were there stay before them.
      while (other < others.size() && (place.former < 0 || others[other].former < place.former))
        arranged.copy(arranged.append(out), others[other++].item);
      arranged.copy(arranged.append(out), place.item);
    }
    while (other < others.size()) arranged.copy(arranged.append(out), others[other++].item);
    target_.copy(list, out);
  }

  Status set_order(Node* node, const Node* patch, const Node* order, const Type* type) {
    const std::string_view name = order->key().substr(kOrder.size());
    Node* list = node->find(name);
    if (!list || list->kind() != Kind::list) return {};
    if (order->kind() != Kind::list)
      return fail(bad_request("$setElementOrder/" + std::string(name) + " must be a list"));
    const Field* field = type ? type->find(name) : nullptr;
    if (!field || !field->patch_merge) return {};
    Document before;
    before.copy(before.root(), list);
    arrange(list, order, before.root(), merge_key_of(*field));
    return {};
  }

  Status retain(Node* node, const Node* keep) {
    std::vector<Node*> gone;
    for (Node* member = node->first(); member; member = member->next()) {
      bool kept = false;
      for (const Node* name = keep->first(); name; name = name->next()) kept = kept || name->string() == member->key();
      if (!kept) gone.push_back(member);
    }
    for (Node* member : gone) target_.erase(node, member);
    return {};
  }

  void remove_values(Node* list, const Node* values) {
    if (!list || list->kind() != Kind::list) return;
    std::vector<Node*> gone;
    for (Node* item = list->first(); item; item = item->next())
      if (contains(values, item)) gone.push_back(item);
    for (Node* item : gone) target_.erase(list, item);
  }

  // The patch's value where nothing was before: without directives, nulls and deletions.
  void take(Node* node, const Node* patch) {
    if (patch->kind() == Kind::object) {
      target_.make_object(node);
      for (const Node* member = patch->first(); member; member = member->next())
        if (!is_directive(member->key()) && !member->is_null()) take(target_.member(node, member->key()), member);
    } else if (patch->kind() == Kind::list) {
      target_.make_list(node);
      for (const Node* item = patch->first(); item; item = item->next())
        if (directive_of(item) != "delete" && directive_of(item) != "replace") take(target_.append(node), item);
    } else {
      target_.copy(node, patch);
    }
  }

  static std::string text_of(const Node* node) {
    std::string out;
    encode_json(node, nullptr, out);
    return out;
  }

  Document& target_;
};

}  // namespace

Result<Document> apply_strategic_patch(const Document& current, const Type& type, std::string_view text) {
  DURE_TRY(const Document patch, decode_json(SharedBytes(std::string(text))));
  if (patch.root()->kind() != Kind::object) return fail(bad_request("a strategic merge patch must be a JSON object"));
  DURE_TRY(Document result, decode_json(SharedBytes(to_json(current))));
  DURE_CHECK(Merger(result).merge_object(result.root(), patch.root(), &type));
  return result;
}

}  // namespace dure::schema
