#include <optional>
#include <vector>

#include "base/text.h"
#include "schema/json.h"
#include "schema/patch.h"

namespace dure::schema {
namespace {

constexpr uint32_t kOperationsMax = 10'000;  // upstream's limit

std::unexpected<Error> refused(std::string_view why) {
  return fail(
      Error{422, "Invalid", "the server rejected our request due to an error in our request: " + std::string(why)});
}

// RFC 6901.
Result<std::vector<std::string>> parse_pointer(std::string_view text) {
  std::vector<std::string> steps;
  if (text.empty()) return steps;
  if (text[0] != '/') return fail(bad_request("a JSON pointer begins with \"/\": " + std::string(text)));
  for (std::string_view part : split(text.substr(1), '/')) {
    std::string step;
    for (size_t i = 0; i < part.size(); ++i) {
      if (part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1'))
        step += part[++i] == '0' ? '~' : '/';
      else
        step += part[i];
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

std::optional<uint32_t> list_index(std::string_view step) {
  if (step.empty() || (step.size() > 1 && step[0] == '0')) return std::nullopt;
  const auto number = parse_int(step);
  if (!number || *number < 0 || *number > INT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

Node* item_of(Node* list, uint32_t index) {
  Node* item = list->first();
  while (item && index-- > 0) item = item->next();
  return item;
}

class Patcher {
 public:
  explicit Patcher(Document& document) : document_(document) {}

  Status apply(const Node* operation) {
    if (operation->kind() != Kind::object) return fail(bad_request("each operation of a JSON patch is an object"));
    const Node* op = operation->find("op");
    const Node* path = operation->find("path");
    if (!op || !op->is_string() || !path || !path->is_string())
      return fail(bad_request("each operation of a JSON patch needs \"op\" and \"path\""));
    DURE_TRY(const auto target, parse_pointer(path->string()));
    const std::string_view name = op->string();
    if (name == "remove") return remove(target, path->string());
    if (name == "move" || name == "copy") return move_or_copy(*operation, target, name == "move");
    const Node* value = operation->find("value");
    if (!value) return fail(bad_request("operation \"" + std::string(name) + "\" needs \"value\""));
    if (name == "add") return add(target, value, path->string());
    if (name == "replace") return replace(target, value, path->string());
    if (name == "test") return test(target, value, path->string());
    return fail(bad_request("unknown JSON patch operation \"" + std::string(name) + "\""));
  }

 private:
  Node* find(const std::vector<std::string>& steps, size_t count) {
    Node* node = document_.root();
    for (size_t i = 0; i < count && node; ++i) {
      if (node->kind() == Kind::list) {
        const auto index = list_index(steps[i]);
        node = index ? item_of(node, *index) : nullptr;
      } else {
        node = node->find(steps[i]);
      }
    }
    return node;
  }

  static std::unexpected<Error> missing(std::string_view path) {
    return refused("path \"" + std::string(path) + "\" does not exist");
  }

  Status add(const std::vector<std::string>& steps, const Node* value, std::string_view path) {
    if (steps.empty()) {
      document_.copy(document_.root(), value);
      return {};
    }
    Node* parent = find(steps, steps.size() - 1);
    if (!parent || !parent->is_container()) return missing(path);
    if (parent->kind() == Kind::object) {
      document_.copy(document_.member(parent, steps.back()), value);
      return {};
    }
    if (steps.back() == "-") {
      document_.copy(document_.append(parent), value);
      return {};
    }
    const auto index = list_index(steps.back());
    if (!index || *index > parent->size()) return missing(path);
    insert(parent, *index, value);
    return {};
  }

  // Shifts the items behind by one.
  void insert(Node* list, uint32_t index, const Node* value) {
    Document items;
    Node* all = items.member(items.root(), "items");
    items.make_list(all);
    uint32_t at = 0;
    for (const Node* item = list->first(); item; item = item->next(), ++at) {
      if (at == index) items.copy(items.append(all), value);
      items.copy(items.append(all), item);
    }
    if (at == index) items.copy(items.append(all), value);
    document_.copy(list, all);
  }

  Status remove(const std::vector<std::string>& steps, std::string_view path) {
    Node* node = steps.empty() ? nullptr : find(steps, steps.size());
    if (!node) return missing(path);
    document_.erase(find(steps, steps.size() - 1), node);
    return {};
  }

  Status replace(const std::vector<std::string>& steps, const Node* value, std::string_view path) {
    Node* node = find(steps, steps.size());
    if (!node) return missing(path);
    document_.copy(node, value);
    return {};
  }

  Status test(const std::vector<std::string>& steps, const Node* value, std::string_view path) {
    const Node* node = find(steps, steps.size());
    if (!(node ? equal(node, value) : value->is_null()))
      return refused("testing value " + std::string(path) + " failed");
    return {};
  }

  Status move_or_copy(const Node& operation, const std::vector<std::string>& target, bool move) {
    const Node* from = operation.find("from");
    if (!from || !from->is_string()) return fail(bad_request("this operation needs \"from\""));
    DURE_TRY(const auto source, parse_pointer(from->string()));
    const Node* node = find(source, source.size());
    if (!node) return missing(from->string());
    Document value;
    value.copy(value.root(), node);
    if (move) DURE_CHECK(remove(source, from->string()));
    return add(target, value.root(), operation.find("path")->string());
  }

  Document& document_;
};

}  // namespace

Result<Document> apply_json_patch(const Document& current, std::string_view text) {
  DURE_TRY(const Document patch, decode_json(SharedBytes(std::string(text))));
  if (patch.root()->kind() != Kind::list) return fail(bad_request("a JSON patch must be a list of operations"));
  if (patch.root()->size() > kOperationsMax)
    return fail(
        Error{413, "RequestEntityTooLarge",
              "the allowed maximum operations in a JSON patch is 10000, got " + std::to_string(patch.root()->size())});
  DURE_TRY(Document result, decode_json(SharedBytes(to_json(current))));
  for (const Node* operation = patch.root()->first(); operation; operation = operation->next())
    DURE_CHECK(Patcher(result).apply(operation));
  return result;
}

}  // namespace dure::schema
