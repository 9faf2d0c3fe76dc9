// The schema's codecs as the server needs them: request bodies in, canonical JSON out. One place knows which function
// of schema/ does what.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/request.h"
#include "base/bytes.h"
#include "base/result.h"
#include "schema/document.h"
#include "schema/resource.h"

namespace dure::apiserver {

enum class MediaType { json, yaml, protobuf };
// Of a Content-Type; empty means JSON; 415 for what is not understood.
Result<MediaType> media_type(std::string_view content_type);

struct Decoded {
  schema::Document document;
  std::vector<std::string> warnings;  // unknown and duplicate fields with FieldValidation::warn
};

// A request body of the given type: 400 for what cannot be read, 422/400 for unknown fields when strict, in upstream's
// words. `type` null: untyped.
Result<Decoded> decode_body(const schema::Type* type, std::string body, MediaType media, FieldValidation validation);

// kind and apiVersion of a body without decoding the rest; empty when absent.
struct TypeNames {
  std::string api_version, kind;
};
Result<TypeNames> peek_type(std::string_view body, MediaType media);

// JSON that this server stored. The document shares `json`.
Result<schema::Document> decode_stored(const schema::Type* type, SharedBytes json);

std::string encode_json(const schema::Document& document);
std::string encode_yaml(const schema::Document& document);
std::string encode_protobuf(const schema::Document& document);  // with the k8s envelope
void apply_defaults(schema::Document& document);

// Rows and hooks; causes in field order.
std::vector<Cause> validate(const schema::Document& document, const schema::Document* old);

// 400/422 for patches that cannot be read or applied; 415 for apply, which is not built yet.
Result<schema::Document> apply_patch(const schema::Document& current, PatchType patch_type, std::string_view patch,
                                     FieldValidation validation, std::vector<std::string>& warnings);

}  // namespace dure::apiserver
