// View: the base of the typed accessors that rowc generates from the rows (build folder, `kinds/views/<group>_<version>.h`).
//
// A generated view is two pointers and is passed by value. For a message type `Pod` with rows metadata, spec, ... it has:
//   scalar row `nodeName`       std::string_view nodeName() const; bool has_nodeName() const; void set_nodeName(std::string_view);
//                               void clear_nodeName();          (int64_t, bool, double likewise; absent reads as zero)
//   message row `spec`          PodSpec spec() const (absent: a view of nothing, reads as zero values); has_spec();
//                               PodSpec mutable_spec(); clear_spec();
//   list of messages            List<Container> containers() const; Container add_containers(); mutable_containers() (range of
//                               mutable views); clear_containers();
//   list of scalars             List<std::string_view> args() const; void add_args(std::string_view); clear_args();
//   map of scalars              Map<std::string_view> labels() const (get, contains, iterate); void set_labels(key, value);
//                               erase_labels(key); clear_labels();
//   map of messages             Map<Message> ...; Message mutable_x(key);
//   Quantity, Time, Duration, IntOrString, RawExtension rows: quantities, times and durations read as std::string_view (their
//                               JSON text); IntOrString and any/RawExtension/FieldsV1 rows as `const Node*` with set_x(int64_t)/
//                               set_x(std::string_view) for IntOrString and `Node* mutable_x()` for the others.
// Names are spelt exactly as the API's JSON names; a C++ keyword gets a trailing underscore (`namespace_()`, `continue_()`).
// Each generated type has `static const schema::Type& type()`.
//
// Reading works on shared immutable objects; writing through a view of an immutable object is an assertion failure.
#pragma once

#include "base/result.h"
#include "schema/document.h"

namespace dure::schema {

class View {
 public:
  View() = default;                                        // a view of nothing
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
  const Node* get(std::string_view name) const { return node_ ? node_->find(name) : nullptr; }
  Document* document_ = nullptr;
  Node* node_ = nullptr;
};

}  // namespace dure::schema
