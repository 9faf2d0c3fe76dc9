#include "schema/view.h"

namespace dure::schema {

Node* View::make_member(std::string_view name) const {
  DURE_ASSERT(document_ != nullptr && node_ != nullptr);
  return document_->member(node_, name);
}

Node* View::make_object(std::string_view name) const {
  Node* node = make_member(name);
  if (node->kind() != Kind::object) document_->make_object(node);
  return node;
}

Node* View::add_item(std::string_view name, bool object) const {
  Node* item = document_->append(make_member(name));
  if (object) document_->make_object(item);
  return item;
}

Node* View::make_entry(std::string_view name, std::string_view key, bool object) const {
  Node* entry = document_->member(make_object(name), key);
  if (object && entry->kind() != Kind::object) document_->make_object(entry);
  return entry;
}

void View::put(std::string_view name, std::string_view value) const { document_->set(make_member(name), value); }
void View::put(std::string_view name, int64_t value) const { document_->set(make_member(name), value); }
void View::put_boolean(std::string_view name, bool value) const { document_->set(make_member(name), value); }
void View::put_number(std::string_view name, double value) const { document_->set(make_member(name), value); }
void View::put_item(std::string_view name, std::string_view value) const {
  document_->set(add_item(name, false), value);
}
void View::put_item(std::string_view name, int64_t value) const { document_->set(add_item(name, false), value); }
void View::put_entry(std::string_view name, std::string_view key, std::string_view value) const {
  document_->set(make_entry(name, key, false), value);
}
void View::put_entry(std::string_view name, std::string_view key, int64_t value) const {
  document_->set(make_entry(name, key, false), value);
}

void View::put_entry_item(std::string_view name, std::string_view key, std::string_view value) const {
  document_->set(document_->append(make_entry(name, key, false)), value);
}

void View::erase_member(std::string_view name) const {
  DURE_ASSERT(document_ != nullptr);
  if (node_ && node_->kind() == Kind::object) document_->erase(node_, name);
}

void View::erase_entry(std::string_view name, std::string_view key) const {
  DURE_ASSERT(document_ != nullptr);
  Node* map = node_ ? node_->find(name) : nullptr;
  if (map && map->kind() == Kind::object) document_->erase(map, key);
}

}  // namespace dure::schema
