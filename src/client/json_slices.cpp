#include "client/json_slices.h"

namespace dure::client {
namespace {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char wanted) {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }
  // A raw value; empty when there is none or it does not end.
  std::string_view value() {
    const char first = peek();
    const size_t start = at_;
    if (first == '"') return string();
    if (first == '{' || first == '[') return container();
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '}' && text_[at_] != ']' && text_[at_] > ' ') ++at_;
    return text_.substr(start, at_ - start);
  }

 private:
  std::string_view string() {
    const size_t start = at_++;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\')
        ++at_;
      else if (text_[at_] == '"')
        return text_.substr(start, ++at_ - start);
    }
    return {};
  }
  std::string_view container() {
    const size_t start = at_;
    int depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (string().empty()) return {};
        continue;
      }
      ++at_;
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && --depth == 0) return text_.substr(start, at_ - start);
    }
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::optional<std::vector<JsonMember>> json_members(std::string_view object) {
  Scanner scanner(object);
  if (!scanner.take('{')) return {};
  std::vector<JsonMember> members;
  if (scanner.take('}')) return members;
  do {
    const std::string_view key = scanner.peek() == '"' ? scanner.value() : std::string_view{};
    if (key.size() < 2 || !scanner.take(':')) return {};
    const std::string_view value = scanner.value();
    if (value.empty()) return {};
    members.emplace_back(key.substr(1, key.size() - 2), value);
  } while (scanner.take(','));
  if (!scanner.take('}')) return {};
  return members;
}

std::optional<std::vector<std::string_view>> json_items(std::string_view list) {
  Scanner scanner(list);
  if (!scanner.take('[')) return {};
  std::vector<std::string_view> items;
  if (scanner.take(']')) return items;
  do {
    const std::string_view value = scanner.value();
    if (value.empty()) return {};
    items.push_back(value);
  } while (scanner.take(','));
  if (!scanner.take(']')) return {};
  return items;
}

}  // namespace dure::client
