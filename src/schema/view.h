// View: the base of the typed accessors that rowc generates from the rows (build folder,
// `kinds/views/<group>_<version>.h`).
//
// A generated view is two pointers and is passed by value. For a message type `Pod` with rows
// metadata, spec, ... it has:
//   scalar row `nodeName`       std::string_view nodeName() const; bool has_nodeName() const; void
//   set_nodeName(std::string_view);
//                               void clear_nodeName();          (int64_t, bool, double likewise;
//                               absent reads as zero)
//   message row `spec`          PodSpec spec() const (absent: a view of nothing, reads as zero
//   values); has_spec();
//                               PodSpec mutable_spec(); clear_spec();
//   list of messages            List<Container> containers() const; Container add_containers();
//   mutable_containers() (range of
//                               mutable views); clear_containers();
//   list of scalars             List<std::string_view> args() const; void
//   add_args(std::string_view); clear_args(); map of scalars              Map<std::string_view>
//   labels() const (get, contains, iterate); void set_labels(key, value);
//                               erase_labels(key); clear_labels();
//   map of messages             Map<Message> ...; Message mutable_x(key);
//   Quantity, Time, Duration, IntOrString, RawExtension rows: quantities, times and durations read
//   as std::string_view (their
//                               JSON text); IntOrString and any/RawExtension/FieldsV1 rows as
//                               `const Node*` with set_x(int64_t)/ set_x(std::string_view) for
//                               IntOrString and `Node* mutable_x()` for the others.
// Names are spelt exactly as the API's JSON names; a C++ keyword gets a trailing underscore
// (`namespace_()`, `continue_()`). Each generated type has `static const schema::Type&
// schema_type()`, and `type()` for the same where no row is called `type`. Reading through a view
// of a mutable Document gives mutable views: `for (Container c : pod.mutable_spec().containers())`.
//
// Reading works on shared immutable objects; writing through a view of an immutable object is an
// assertion failure.
#pragma once

#include <type_traits>

#include "base/result.h"
#include "schema/document.h"
#include "schema/rows.h"

namespace dure::schema {

class View;

namespace detail {
template <class T>
T read(Document* document, const Node* node) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return node ? node->string() : std::string_view{};
  } else if constexpr (std::is_same_v<T, bool>) {
    return node && node->boolean();
  } else if constexpr (std::is_same_v<T, double>) {
    return node ? node->number() : 0;
  } else if constexpr (std::is_integral_v<T>) {
    return node ? static_cast<T>(node->integer()) : 0;
  } else if constexpr (std::is_same_v<T, const Node*>) {
    return node;
  } else {
    return T(document, const_cast<Node*>(node));
  }
}
}  // namespace detail

// The items of a list. T: std::string_view, int64_t, bool, double, const Node*, or a view.
template <class T>
class List {
 public:
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    Iterator(Document* document, const Node* node) : document_(document), node_(node) {}
    T operator*() const { return detail::read<T>(document_, node_); }
    Iterator& operator++() {
      node_ = node_->next();
      return *this;
    }
    Iterator operator++(int) {
      Iterator old = *this;
      ++*this;
      return old;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.node_ == b.node_; }

   private:
    Document* document_ = nullptr;
    const Node* node_ = nullptr;
  };

  List() = default;
  List(Document* document, const Node* list) : document_(document), list_(list) {}
  Iterator begin() const { return {document_, list_ ? list_->first() : nullptr}; }
  Iterator end() const { return {}; }
  uint32_t size() const { return list_ ? list_->size() : 0; }
  bool empty() const { return size() == 0; }
  T operator[](uint32_t index) const {
    return detail::read<T>(document_, list_ ? list_->item(index) : nullptr);
  }  // linear
  T front() const { return detail::read<T>(document_, list_ ? list_->first() : nullptr); }
  T back() const { return detail::read<T>(document_, list_ ? list_->last() : nullptr); }
  bool contains(const T& value) const
    requires(!std::is_base_of_v<View, T>)
  {
    for (const T& item : *this)
      if (item == value) return true;
    return false;
  }
  const Node* node() const { return list_; }

 private:
  Document* document_ = nullptr;
  const Node* list_ = nullptr;
};

// The members of a map, sorted by key. Iterating gives {key, value}.
template <class T>
class Map {
 public:
  struct Entry {
    std::string_view key;
    T value;
  };
  class Iterator {
   public:
    using value_type = Entry;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    Iterator(Document* document, const Node* node) : document_(document), node_(node) {}
    Entry operator*() const { return {node_->key(), detail::read<T>(document_, node_)}; }
    Iterator& operator++() {
      node_ = node_->next();
      return *this;
    }
    Iterator operator++(int) {
      Iterator old = *this;
      ++*this;
      return old;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.node_ == b.node_; }

   private:
    Document* document_ = nullptr;
    const Node* node_ = nullptr;
  };

  Map() = default;
  Map(Document* document, const Node* map) : document_(document), map_(map) {}
  Iterator begin() const { return {document_, map_ ? map_->first() : nullptr}; }
  Iterator end() const { return {}; }
  uint32_t size() const { return map_ ? map_->size() : 0; }
  bool empty() const { return size() == 0; }
  bool contains(std::string_view key) const { return map_ && map_->find(key); }
  // The value, or a zero value when the key is missing.
  T get(std::string_view key) const { return detail::read<T>(document_, map_ ? map_->find(key) : nullptr); }
  const Node* node() const { return map_; }

 private:
  Document* document_ = nullptr;
  const Node* map_ = nullptr;
};

class View {
 public:
  View() = default;  // a view of nothing
  explicit View(const Node* node) : node_(const_cast<Node*>(node)) {}
  View(Document* document, Node* node) : document_(document), node_(node) {}
  explicit View(Document& document) : document_(&document), node_(document.root()) {}
  explicit View(const Document& document) : node_(const_cast<Node*>(document.root())) {}
  explicit View(const Object& object) : View(*object) {}

  bool empty() const { return node_ == nullptr || node_->is_null(); }
  explicit operator bool() const { return !empty(); }
  const Node* node() const { return node_; }
  Node* mutable_node() const {
    DURE_ASSERT(document_ != nullptr);
    return node_;
  }
  Document* document() const { return document_; }

 protected:
  // What generated accessors are made of. API names have no underscores, so these are never hidden
  // by one.
  const Node* get_node(std::string_view name) const { return node_ ? node_->find(name) : nullptr; }
  bool has_member(std::string_view name) const {
    const Node* node = get_node(name);
    return node && !node->is_null();
  }
  std::string_view get_text(std::string_view name) const {
    return detail::read<std::string_view>(nullptr, get_node(name));
  }
  int64_t get_integer(std::string_view name) const { return detail::read<int64_t>(nullptr, get_node(name)); }
  bool get_boolean(std::string_view name) const { return detail::read<bool>(nullptr, get_node(name)); }
  double get_number(std::string_view name) const { return detail::read<double>(nullptr, get_node(name)); }
  template <class T>
  List<T> get_list(std::string_view name) const {
    return {document_, get_node(name)};
  }
  template <class T>
  Map<T> get_map(std::string_view name) const {
    return {document_, get_node(name)};
  }

  Node* make_member(std::string_view name) const;  // found or made; kind as it is
  Node* make_object(std::string_view name) const;  // found or made an object
  Node* add_item(std::string_view name, bool object) const;
  Node* make_entry(std::string_view name, std::string_view key, bool object) const;
  void put(std::string_view name, std::string_view value) const;
  void put(std::string_view name, int64_t value) const;
  void put_boolean(std::string_view name, bool value) const;
  void put_number(std::string_view name, double value) const;
  void put_item(std::string_view name, std::string_view value) const;
  void put_item(std::string_view name, int64_t value) const;
  void put_entry(std::string_view name, std::string_view key, std::string_view value) const;
  void put_entry(std::string_view name, std::string_view key, int64_t value) const;
  void put_entry_item(std::string_view name, std::string_view key, std::string_view value) const;
  void erase_member(std::string_view name) const;
  void erase_entry(std::string_view name, std::string_view key) const;

  Document* document_ = nullptr;
  Node* node_ = nullptr;
};

}  // namespace dure::schema
