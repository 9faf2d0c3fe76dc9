// Index: the ordered map from key to newest record; a B+ tree of counted nodes.
//
// Copying an Index is one reference: the copy is a snapshot that never changes. A node that only one Index holds is
// changed in place; a shared one is copied first. So a reader that took a snapshot walks it without a lock, and a
// writer without readers copies nothing.
//
// Thread: one Index object is not thread-safe; snapshots of it may be read and destroyed on any thread meanwhile.
// Cost: find, put, erase and rank are O(log n); about 12 bytes of tree per key.
#pragma once

#include <cstddef>
#include <string_view>

#include "store/record.h"

namespace dure::store {

class Index {
 public:
  Index() = default;
  Index(const Index& other);
  Index(Index&& other) noexcept : root_(std::exchange(other.root_, nullptr)) {}
  Index& operator=(Index other) noexcept {
    std::swap(root_, other.root_);
    return *this;
  }
  ~Index();

  // A null pointer when the key is absent; valid until the Index changes.
  const RecordRef* find(std::string_view key) const;
  // Inserts or replaces; returns what was there before.
  RecordRef put(RecordRef record);
  RecordRef erase(std::string_view key);
  size_t size() const;
  // How many keys are smaller than `key`.
  size_t rank(std::string_view key) const;
  // Records with start <= key < end (empty end: no bound) in order until `see` answers false.
  template <class See>
  void visit(std::string_view start, std::string_view end, See&& see) const {
    auto call = [](void* state, const RecordRef& record) { return (*static_cast<See*>(state))(record); };
    visit_erased(start, end, const_cast<void*>(static_cast<const void*>(&see)), call);
  }

  struct Node;

 private:
  using Call = bool (*)(void* state, const RecordRef& record);
  void visit_erased(std::string_view start, std::string_view end, void* state, Call call) const;

  Node* root_ = nullptr;
};

}  // namespace dure::store
