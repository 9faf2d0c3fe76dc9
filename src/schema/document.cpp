#include "schema/document.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/result.h"
#include "schema/rows.h"
#include "schema/zero.h"

namespace dure::schema {

namespace {

constexpr size_t kFirstChunk = 1024, kLargestChunk = size_t{256} << 10;

struct Chunk {
  Chunk* next;
  size_t size;
};

// Row that a value below an object node of this row has when it is a map; null otherwise.
const Field* map_item(const Node* node) {
  const Field* field = node->field();
  return field && field->shape == Shape::map ? field->item : nullptr;
}

// An absent member and this one mean the same: the row writes zero values itself, or drops them.
bool equals_absent(const Node* node) {
  const Field* field = node->field();
  if (!field || field->pointer || node->key().empty()) return node->is_null();
  if (!node->is_container()) return node->is_null() || is_zero_scalar(node);
  if (node->kind() == Kind::list) return node->size() == 0 && field->omit_empty;
  if (field->shape == Shape::map) return node->size() == 0 && field->omit_empty;
  if (field->shape != Shape::single || !field->type) return false;
  for (const Node* child = node->first(); child; child = child->next())
    if (!equals_absent(child)) return false;
  return true;
}

// The row of this type for a member that may carry a row of another type.
const Field* row_of(const Type* type, const Node* member) {
  if (!type) return nullptr;
  const Field* field = member->field();
  const bool own = field >= type->fields.data() && field < type->fields.data() + type->fields.size();
  return own ? field : type->find(member->key());
}

bool equal_members(const Node* a, const Node* b) {
  const Node* y = b->first();
  for (const Node* x = a->first(); x; x = x->next()) {
    const Node* other = y && y->key() == x->key() ? y : b->find(x->key());
    if (other ? !equal(x, other) : !equals_absent(x)) return false;
    if (other) y = other->next();
  }
  for (const Node* x = b->first(); x; x = x->next())
    if (!a->find(x->key()) && !equals_absent(x)) return false;
  return true;
}

bool equal_items(const Node* a, const Node* b) {
  if (a->size() != b->size()) return false;
  const Node* y = b->first();
  for (const Node* x = a->first(); x; x = x->next(), y = y->next())
    if (!equal(x, y)) return false;
  return true;
}

}  // namespace

struct Document::Arena {
  Chunk* chunks = nullptr;
  char* position = nullptr;
  char* end = nullptr;
  size_t held = 0;
  std::vector<SharedBytes> inputs;

  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    while (chunks) {
      Chunk* next = chunks->next;
      ::operator delete(chunks);
      chunks = next;
    }
  }

  void grow(size_t bytes) {
    const size_t doubled = std::clamp(held, kFirstChunk, kLargestChunk);
    const size_t size = std::max(doubled, bytes + sizeof(Chunk) + alignof(Node));
    auto* chunk = static_cast<Chunk*>(::operator new(size));
    chunk->next = chunks;
    chunk->size = size;
    chunks = chunk;
    held += size;
    position = reinterpret_cast<char*>(chunk) + sizeof(Chunk);
    end = reinterpret_cast<char*>(chunk) + size;
  }
  // Nodes grow from the front of a chunk and text from its back, so that neither needs padding.
  void* node() {
    if (static_cast<size_t>(end - position) < sizeof(Node)) grow(sizeof(Node));
    void* place = position;
    position += sizeof(Node);
    return place;
  }
  char* text(size_t bytes) {
    if (static_cast<size_t>(end - position) < bytes) grow(bytes);
    end -= bytes;
    return end;
  }
};

const Node* Node::find(std::string_view key) const {
  if (kind_ != Kind::object) return nullptr;
  for (const Node* child = children_.first; child; child = child->next_)
    if (child->key_size_ == key.size() &&
        (key.empty() || child->key_ == key.data() || std::memcmp(child->key_, key.data(), key.size()) == 0))
      return child;
  return nullptr;
}

const Node* Node::item(uint32_t index) const {
  if (kind_ != Kind::list) return nullptr;
  const Node* child = children_.first;
  while (child && index-- > 0) child = child->next_;
  return child;
}

bool equal(const Node* a, const Node* b) {
  if (!a || !b) return a ? equals_absent(a) : !b || equals_absent(b);
  const bool numeric = (a->kind() == Kind::number && b->kind() == Kind::integer) ||
                       (a->kind() == Kind::integer && b->kind() == Kind::number);
  if (numeric) return a->number() == b->number();
  if (a->kind() != b->kind()) return false;
  switch (a->kind()) {
    case Kind::null:
      return true;
    case Kind::boolean:
      return a->boolean() == b->boolean();
    case Kind::integer:
      return a->integer() == b->integer();
    case Kind::number:
      return a->number() == b->number();
    case Kind::string:
      return a->string() == b->string();
    case Kind::list:
      return equal_items(a, b);
    case Kind::object:
      return equal_members(a, b);
  }
  return false;
}

Document::Document() : arena_(std::make_unique<Arena>()) {
  root_ = new_node();
  make_object(root_);
}

Document::Document(const Type& type) : Document() { type_ = &type; }

Document::Document(const Type* type, SharedBytes input) : type_(type), arena_(std::make_unique<Arena>()) {
  // Decoded objects need about as many bytes as their text; one chunk then mostly suffices.
  arena_->grow(std::min(kLargestChunk, std::max(kFirstChunk / 2, input.size() * 2)));
  arena_->inputs.push_back(std::move(input));
  root_ = new_node();
  make_object(root_);
}

Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

size_t Document::bytes() const { return arena_->held + sizeof(Arena); }

void Document::keep(SharedBytes bytes) { arena_->inputs.push_back(std::move(bytes)); }

Node* Document::new_node() { return new (arena_->node()) Node(); }

char* Document::allocate(size_t bytes) { return arena_->text(bytes); }

std::string_view Document::intern(std::string_view text) {
  if (text.empty()) return {};
  char* copy = arena_->text(text.size());
  std::memcpy(copy, text.data(), text.size());
  return {copy, text.size()};
}

const Type* Document::type_of(const Node* object) const {
  if (object == root_) return type_;
  const Field* field = object->field();
  return field && field->shape == Shape::single ? field->type : nullptr;
}

Node* Document::new_member(std::string_view key, const Field* field) {
  Node* node = new_node();
  node->key_ = key.data();
  node->key_size_ = static_cast<uint32_t>(key.size());
  node->field_ = field;
  return node;
}

void Document::link_last(Node* parent, Node* child) {
  child->next_ = nullptr;
  if (parent->children_.last)
    parent->children_.last->next_ = child;
  else
    parent->children_.first = child;
  parent->children_.last = child;
  ++parent->size_;
}

void Document::rename(Node* member, std::string_view key) {
  member->key_ = key.data();
  member->key_size_ = static_cast<uint32_t>(key.size());
}

void Document::drop_last(Node* object, Node* before) {
  (before ? before->next_ : object->children_.first) = nullptr;
  object->children_.last = before;
  --object->size_;
}

Node* Document::append_member(Node* object, std::string_view key, const Field* field) {
  Node* node = new_member(key, field);
  link_last(object, node);
  return node;
}

namespace {
// a stands before b in canonical order. Members without a row come last, as they were added.
bool before(const Node* a, const Node* b, bool by_key) {
  if (by_key) return a->key() < b->key();
  if (!a->field() || !b->field()) return a->field() != nullptr && b->field() == nullptr;
  return a->field()->index < b->field()->index;
}
}  // namespace

Node* Document::insert_member(Node* object, std::string_view key, const Field* field) {
  Node* node = new_member(key, field);
  const bool by_key = map_item(object) != nullptr;
  const bool ordered = by_key || type_of(object) != nullptr;
  Node* last = object->children_.last;
  if (!last || !ordered || !before(node, last, by_key)) {
    link_last(object, node);
    return node;
  }
  Node** link = &object->children_.first;
  while (!before(node, *link, by_key)) link = &(*link)->next_;
  node->next_ = *link;
  *link = node;
  ++object->size_;
  return node;
}

Node* Document::insert_row(Node* object, const Field& field) {
  if (Node* found = object->find(field.name)) return found;
  return insert_member(object, field.name, &field);
}

Node* Document::member(Node* object, std::string_view key) {
  if (object->is_null()) make_object(object);
  DURE_ASSERT(object->kind() == Kind::object);
  if (Node* found = object->find(key)) return found;
  if (const Field* item = map_item(object)) return insert_member(object, intern(key), item);
  const Type* type = type_of(object);
  const Field* field = type ? type->find(key) : nullptr;
  return insert_member(object, field ? field->name : intern(key), field);
}

Node* Document::append(Node* list) {
  if (list->is_null()) make_list(list);
  DURE_ASSERT(list->kind() == Kind::list);
  const Field* field = list->field();
  Node* node = new_member({}, field ? field->item : nullptr);
  link_last(list, node);
  return node;
}

void Document::set_null(Node* node) {
  node->kind_ = Kind::null;
  node->size_ = 0;
}
void Document::set(Node* node, bool value) {
  node->kind_ = Kind::boolean;
  node->boolean_ = value;
}
void Document::set(Node* node, int64_t value) {
  node->kind_ = Kind::integer;
  node->integer_ = value;
}
void Document::set(Node* node, double value) {
  node->kind_ = Kind::number;
  node->number_ = value;
}
void Document::set(Node* node, std::string_view value) { set_borrowed(node, intern(value)); }

void Document::set_borrowed(Node* node, std::string_view value) {
  node->kind_ = Kind::string;
  node->string_ = value.data();
  node->size_ = static_cast<uint32_t>(value.size());
}

void Document::make_object(Node* node) {
  node->kind_ = Kind::object;
  node->size_ = 0;
  node->children_ = {nullptr, nullptr};
}

void Document::make_list(Node* node) {
  node->kind_ = Kind::list;
  node->size_ = 0;
  node->children_ = {nullptr, nullptr};
}

void Document::copy(Node* to, const Node* from) {
  switch (from->kind()) {
    case Kind::null:
      return set_null(to);
    case Kind::boolean:
      return set(to, from->boolean());
    case Kind::integer:
      return set(to, from->integer());
    case Kind::number:
      return set(to, from->number());
    case Kind::string:
      return set(to, from->string());
    case Kind::list:
    case Kind::object:
      return copy_children(to, from);
  }
}

void Document::copy_children(Node* to, const Node* from) {
  // `from` may be `to` itself or stand below it: read its children before `to` is emptied.
  const Node* child = from->first();
  if (from->kind() == Kind::list) {
    make_list(to);
    for (; child; child = child->next()) copy(append(to), child);
    return;
  }
  make_object(to);
  const Type* type = type_of(to);
  const Field* item = map_item(to);
  bool sorted = true;
  for (; child; child = child->next()) {
    const Field* field = item ? item : row_of(type, child);
    Node* last = to->children_.last;
    Node* node = append_member(to, field && !item ? field->name : intern(child->key()), field);
    if (last && (item || type) && before(node, last, item != nullptr)) sorted = false;
    copy(node, child);
  }
  if (!sorted) sort_members(to);
}

bool Document::erase(Node* parent, std::string_view key) {
  if (Node* child = parent->find(key)) {
    erase(parent, child);
    return true;
  }
  return false;
}

void Document::erase(Node* parent, Node* child) {
  Node* previous = nullptr;
  for (Node* node = parent->first(); node; previous = node, node = node->next_) {
    if (node != child) continue;
    (previous ? previous->next_ : parent->children_.first) = node->next_;
    if (parent->children_.last == node) parent->children_.last = previous;
    --parent->size_;
    return;
  }
}

bool Document::sort_members(Node* object, void (*on_duplicate)(void*, std::string_view), void* context) {
  const bool by_key = map_item(object) != nullptr;
  const bool ordered = by_key || type_of(object) != nullptr;
  const uint32_t count = object->size_;
  Node* few[64];
  std::vector<Node*> many;
  if (count > std::size(few)) many.resize(count);
  Node** nodes = count > std::size(few) ? many.data() : few;
  uint32_t n = 0;
  for (Node* node = object->first(); node; node = node->next_) nodes[n++] = node;
  const auto less = [&](const Node* a, const Node* b) { return before(a, b, !ordered || by_key); };
  const auto same = [&](const Node* a, const Node* b) { return a->key() == b->key(); };
  if (ordered) {
    if (count <= 16) {  // insertion sort: stable, and mostly nearly sorted
      for (uint32_t i = 1; i < n; ++i) {
        Node* node = nodes[i];
        uint32_t j = i;
        for (; j > 0 && less(node, nodes[j - 1]); --j) nodes[j] = nodes[j - 1];
        nodes[j] = node;
      }
    } else {
      std::stable_sort(nodes, nodes + n, less);
    }
    make_object(object);
    bool duplicates = false;
    for (uint32_t i = 0; i < n; ++i) {
      if (i + 1 < n && same(nodes[i], nodes[i + 1])) {
        duplicates = true;
        if (on_duplicate) on_duplicate(context, nodes[i]->key());
        continue;
      }
      link_last(object, nodes[i]);
    }
    return duplicates;
  }
  // Insertion order stays; a later member takes the place of an earlier one with its key.
  std::vector<Node*> sorted(nodes, nodes + n);
  std::stable_sort(sorted.begin(), sorted.end(), less);
  bool duplicates = false;
  for (uint32_t i = 0; i + 1 < n; ++i) {
    if (!same(sorted[i], sorted[i + 1])) continue;
    duplicates = true;
    if (on_duplicate) on_duplicate(context, sorted[i]->key());
    erase(object, sorted[i]);
  }
  return duplicates;
}

Document Document::clone() const {
  Document result;
  result.type_ = type_;
  result.arena_->grow(std::min<size_t>(kLargestChunk, 512));
  result.copy(result.root_, root_);
  return result;
}

}  // namespace dure::schema
