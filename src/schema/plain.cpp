#include "schema/plain.h"

namespace dure::schema {

Node* add_list(Document& document, Node* object, std::string_view key) {
  Node* list = document.member(object, key);
  document.make_list(list);
  return list;
}

Node* add_row(Document& document, Node* list,
              std::initializer_list<std::pair<std::string_view, std::string_view>> texts) {
  Node* row = document.append(list);
  document.make_object(row);
  for (const auto& [key, text] : texts) document.set(document.member(row, key), text);
  return row;
}

}  // namespace dure::schema
