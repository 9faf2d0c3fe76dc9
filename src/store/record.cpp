#include "store/record.h"

#include <cstring>
#include <new>

namespace dure::store {

Record::Record(std::string_view key, Fields fields)
    : key_size_(static_cast<uint32_t>(key.size())),
      removed_(fields.removed),
      create_revision_(fields.create_revision),
      mod_revision_(fields.mod_revision),
      value_(std::move(fields.value)) {
  std::memcpy(static_cast<void*>(this + 1), key.data(), key.size());
}

RecordRef Record::make(std::string_view key, Fields fields) {
  void* memory = ::operator new(sizeof(Record) + key.size());
  return RecordRef(new (memory) Record(key, std::move(fields)));
}

void Record::destroy(Record* record) {
  record->~Record();
  ::operator delete(static_cast<void*>(record));
}

}  // namespace dure::store
