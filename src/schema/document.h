// Document: one API object (or any JSON-like value) as a tree of nodes in one arena.
//
// Owner: the Document owns every node and string it hands out; nodes have stable addresses until it
// is destroyed. Immutable documents are shared as `Object` (shared_ptr<const Document>). Thread: a
// const Document may be read by any number of threads; a mutable one belongs to one thread. Cost: a
// node is 48 bytes; strings that stand unescaped in the input are not copied when the Document
// shares that input.
//
// Children of a node with a struct type are kept in the order of the type's rows and children of a
// map sorted by key: that is the canonical order of every encoder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"

namespace dure::schema {

struct Field;  // schema/rows.h: one row
struct Type;   // schema/rows.h: a message, its rows

enum class Kind : uint8_t { null, boolean, integer, number, string, list, object };

class Node {
 public:
  Kind kind() const { return kind_; }
  // Name of this member in its object; empty in lists and at the root.
  std::string_view key() const { return {key_, key_size_}; }
  // The row that describes this member (for items of lists and values of maps: Field::item of the
  // row above); null below an untyped part.
  const Field* field() const { return field_; }
  const Node* next() const { return next_; }
  Node* next() { return next_; }
  const Node* first() const { return is_container() ? children_.first : nullptr; }
  Node* first() { return is_container() ? children_.first : nullptr; }
  const Node* last() const { return is_container() ? children_.last : nullptr; }
  Node* last() { return is_container() ? children_.last : nullptr; }
  uint32_t size() const { return is_container() ? size_ : 0; }  // number of children
  bool is_container() const { return kind_ == Kind::list || kind_ == Kind::object; }
  bool is_null() const { return kind_ == Kind::null; }
  bool is_string() const { return kind_ == Kind::string; }

  // Values; a node of another kind answers the zero value (integer<->number convert).
  bool boolean() const { return kind_ == Kind::boolean && boolean_; }
  int64_t integer() const {
    return kind_ == Kind::integer ? integer_ : kind_ == Kind::number ? static_cast<int64_t>(number_) : 0;
  }
  double number() const {
    return kind_ == Kind::number ? number_ : kind_ == Kind::integer ? static_cast<double>(integer_) : 0;
  }
  std::string_view string() const {
    return kind_ == Kind::string ? std::string_view{string_, size_} : std::string_view{};
  }

  // First child with that key, or null. Cost: linear in the number of children.
  const Node* find(std::string_view key) const;
  Node* find(std::string_view key) { return const_cast<Node*>(std::as_const(*this).find(key)); }
  // find("spec", "template", "metadata"): null when any step is missing.
  template <class... Keys>
  const Node* find(std::string_view key, Keys... rest) const {
    const Node* child = find(key);
    return child ? child->find(rest...) : nullptr;
  }
  const Node* item(uint32_t index) const;  // of a list; linear

 private:
  friend class Document;
  Kind kind_ : 8 = Kind::null;
  uint32_t key_size_ : 24 = 0;
  uint32_t size_ = 0;  // bytes of a string, children of a container
  const char* key_ = nullptr;
  const Field* field_ = nullptr;
  Node* next_ = nullptr;
  struct Children {
    Node *first, *last;
  };
  union {
    bool boolean_;
    int64_t integer_;
    double number_;
    const char* string_;
    Children children_{nullptr, nullptr};
  };
};

// Value equality: kinds, keys and values; order of members does not matter, order of items does. 1
// == 1.0. A member that its row drops when zero (or writes anyway) equals an absent one.
bool equal(const Node* a, const Node* b);

class Document {
 public:
  Document();  // root: an untyped empty object
  explicit Document(const Type& type);
  // Takes part in the ownership of `input`, so that decoders can point into it.
  Document(const Type* type, SharedBytes input);
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  ~Document();

  const Type* type() const { return type_; }  // of the root; null when untyped
  void set_type(const Type* type) { type_ = type; }
  Node* root() { return root_; }
  const Node* root() const { return root_; }
  size_t bytes() const;  // memory held, the shared input not counted

  // A deep copy into an arena of its own.
  Document clone() const;

  // --- Changing. `object` must be an object node and `list` a list node of this Document; a null
  // node that is given as parent becomes an object (list). Strings are copied into the arena.
  // Member `key` of `object`: found, or made (kind null) at its canonical place.
  Node* member(Node* object, std::string_view key);
  Node* append(Node* list);  // a new last item, kind null
  void set_null(Node* node);
  void set(Node* node, bool value);
  void set(Node* node, int64_t value);
  void set(Node* node, int value) { set(node, static_cast<int64_t>(value)); }
  void set(Node* node, double value);
  void set(Node* node, std::string_view value);
  void set(Node* node, const char* value) { set(node, std::string_view(value)); }
  void make_object(Node* node);  // empties it
  void make_list(Node* node);
  void copy(Node* to,
            const Node* from);  // deep; `from` may be of another Document; keeps to's key and row
  bool erase(Node* parent, std::string_view key);
  void erase(Node* parent, Node* child);

  // For decoders: strings that already live in the shared input or in this arena, not copied.
  void set_borrowed(Node* node, std::string_view value);
  Node* append_member(Node* object, std::string_view borrowed_key,
                      const Field* field);  // caller keeps canonical order
  Node* insert_member(Node* object, std::string_view borrowed_key,
                      const Field* field);  // finds its canonical place
  Node* insert_row(Node* object,
                   const Field& field);  // the row's member: found, or made at its place
  void rename(Node* member, std::string_view borrowed_key);
  // Takes the last child of `object` away again; `before` was its last one before.
  void drop_last(Node* object, Node* before);
  std::string_view intern(std::string_view text);  // copies into the arena
  char* allocate(size_t bytes);                    // not aligned
  // Takes part in the ownership of more bytes that nodes borrow from.
  void keep(SharedBytes bytes);
  // Puts the members of `object` into canonical order (by row or by key) and drops all but the last
  // of equal ones; answers whether there were any. `on_duplicate` is told each dropped key.
  bool sort_members(Node* object, void (*on_duplicate)(void* context, std::string_view key) = nullptr,
                    void* context = nullptr);
  // The type of an object node: of the root, or what its row says; null: a map or untyped.
  const Type* type_of(const Node* object) const;

 private:
  struct Arena;
  Node* new_node();
  Node* new_member(std::string_view key, const Field* field);
  void link_last(Node* parent, Node* child);
  void copy_children(Node* to, const Node* from);
  const Type* type_ = nullptr;
  Node* root_ = nullptr;
  std::unique_ptr<Arena> arena_;
};

using Object = std::shared_ptr<const Document>;
inline Object share(Document&& document) { return std::make_shared<const Document>(std::move(document)); }

}  // namespace dure::schema
