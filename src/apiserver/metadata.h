// What the server keeps true about ObjectMeta, whatever the kind: names, uids, times, generation, deletion marks.
//
// Pure functions over documents. Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/catalog.h"
#include "base/error.h"
#include "base/time.h"
#include "schema/document.h"

namespace dure::apiserver {

// metadata.<key> as text, or empty.
std::string_view metadata_text(const schema::Document& object, std::string_view key);
inline std::string_view name_of(const schema::Document& object) { return metadata_text(object, "name"); }
bool is_being_deleted(const schema::Document& object);
bool has_finalizer(const schema::Document& object, std::string_view finalizer);
size_t finalizer_count(const schema::Document& object);

std::string random_suffix(const std::function<uint64_t()>& random);  // 5 characters, upstream's alphabet
std::string random_uid(const std::function<uint64_t()>& random);     // UUID version 4

struct Creation {
  std::string_view namespace_;
  WallTime now;
  std::function<uint64_t()> random;
};
// Fills name from generateName, uid, creationTimestamp, generation; drops what only the server may set.
void begin_metadata(const Served& served, schema::Document& object, const Creation& creation);
// Takes over what an update may not change (uid, creationTimestamp, deletion marks, generation, managedFields).
void carry_metadata(const Served& served, schema::Document& object, const schema::Document& old);
// +1 when something besides metadata and status differs.
void bump_generation(schema::Document& object, const schema::Document& old);
// The parts that a status (main) write may not touch are taken from `old`.
void keep_all_but_status(schema::Document& object, const schema::Document& old);
void keep_status(schema::Document& object, const schema::Document& old);

// Names, labels, annotations, owner references, finalizers; with `old` also what may not change.
std::vector<Cause> validate_metadata(const Served& served, const schema::Document& object, const schema::Document* old);

}  // namespace dure::apiserver
