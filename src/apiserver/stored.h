// The stored form of an object and how readers see it (docs/decisions/0002):
//
//   [u32 little endian: splice offset][canonical JSON without metadata.resourceVersion]
//
// Readers put `,"resourceVersion":"N"` in at the offset, N being the revision of the write: a copy, no decoding.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "schema/document.h"
#include "schema/resource.h"
#include "store/store.h"

namespace dure::apiserver {

// Encodes `object`, which must have metadata.name; drops its resourceVersion.
SharedBytes make_stored(schema::Document& object);

// The JSON without resourceVersion; empty when `value` is not of this form.
std::string_view stored_json(std::string_view value);
SharedBytes stored_json(const SharedBytes& value);

// `head`: when the JSON starts with it, it is written as a lone brace (list items go without kind and apiVersion).
void append_spliced(std::string& out, std::string_view value, store::Revision revision, std::string_view head = {});
std::string spliced(std::string_view value, store::Revision revision);

// Decoded, with metadata.resourceVersion set.
Result<schema::Document> decode_object(const schema::Type* type, const SharedBytes& value, store::Revision revision);

}  // namespace dure::apiserver
