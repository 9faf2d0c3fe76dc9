// Record: one version of one key, immutable, one allocation, counted by reference.
// Shared by the index, the history window and snapshots; the value's bytes are shared further up.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>

#include "store/store.h"

namespace dure::store {

class Record;

// Owning pointer to an immutable record; copying costs one atomic add.
class RecordRef {
 public:
  RecordRef() = default;
  RecordRef(const RecordRef& other);
  RecordRef(RecordRef&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  RecordRef& operator=(RecordRef other) noexcept {
    std::swap(record_, other.record_);
    return *this;
  }
  ~RecordRef();

  explicit operator bool() const { return record_ != nullptr; }
  const Record* operator->() const { return record_; }
  const Record& operator*() const { return *record_; }

 private:
  friend class Record;
  explicit RecordRef(Record* record) : record_(record) {}
  Record* record_ = nullptr;
};

class Record {
 public:
  struct Fields {
    Revision create_revision = 0, mod_revision = 0;
    SharedBytes value = {};
    bool removed = false;  // a tombstone: says when the key went away
  };
  static RecordRef make(std::string_view key, Fields fields);

  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_size_}; }
  Revision create_revision() const { return create_revision_; }
  Revision mod_revision() const { return mod_revision_; }
  const SharedBytes& value() const { return value_; }
  bool removed() const { return removed_; }
  // Bytes that this record keeps in memory, about.
  size_t footprint() const { return sizeof(Record) + key_size_ + value_.size() + 64; }
  Entry entry() const { return {std::string(key()), create_revision_, mod_revision_, value_}; }

 private:
  friend class RecordRef;
  Record(std::string_view key, Fields fields);
  static void destroy(Record* record);

  std::atomic<uint32_t> references_{1};
  uint32_t key_size_ : 31;
  uint32_t removed_ : 1;
  Revision create_revision_, mod_revision_;
  SharedBytes value_;
  // The key's bytes follow.
};

inline RecordRef::RecordRef(const RecordRef& other) : record_(other.record_) {
  if (record_) record_->references_.fetch_add(1, std::memory_order_relaxed);
}

inline RecordRef::~RecordRef() {
  if (record_ && record_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) Record::destroy(record_);
}

}  // namespace dure::store
