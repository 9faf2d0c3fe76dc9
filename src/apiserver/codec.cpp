#include "apiserver/codec.h"

#include <fmt/format.h>

#include "apiserver/peek.h"
#include "apiserver/status.h"
#include "base/text.h"
#include "schema/json.h"
#include "schema/rows.h"

namespace dure::apiserver {

namespace {

constexpr std::string_view offered = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

schema::Strictness strictness(FieldValidation validation) {
  switch (validation) {
    case FieldValidation::ignore: return schema::Strictness::ignore;
    case FieldValidation::warn: return schema::Strictness::warn;
    case FieldValidation::strict: return schema::Strictness::strict;
  }
  return schema::Strictness::warn;
}

}  // namespace

Result<MediaType> media_type(std::string_view content_type) {
  const std::string type = lower(trim(content_type.substr(0, content_type.find(';'))));
  if (type.empty() || type == "application/json" || type == "*/*") return MediaType::json;
  if (type == "application/yaml" || type == "application/x-yaml" || type == "text/yaml") return MediaType::yaml;
  if (type == "application/vnd.kubernetes.protobuf") return MediaType::protobuf;
  return fail(unsupported_media_type(offered));
}

Result<Decoded> decode_body(const schema::Type* type, std::string body, MediaType media, FieldValidation validation) {
  Decoded decoded;
  schema::DecodeOptions options{strictness(validation), &decoded.warnings};
  if (media != MediaType::json) return fail(unsupported("bodies other than JSON are not built yet"));
  SharedBytes input(std::move(body));
  if (type) {
    DURE_TRY(decoded.document, schema::decode_json(std::move(input), *type, options));
  } else {
    DURE_TRY(decoded.document, schema::decode_json(std::move(input)));
  }
  return decoded;
}

Result<TypeNames> peek_type(std::string_view body, MediaType media) {
  TypeNames names;
  if (media != MediaType::json) return names;
  JsonCursor cursor(body);
  while (cursor.next()) {
    if (cursor.key() == "kind") names.kind = json_text(cursor.value());
    if (cursor.key() == "apiVersion") names.api_version = json_text(cursor.value());
  }
  return names;
}

Result<schema::Document> decode_stored(const schema::Type* type, SharedBytes json) {
  if (type) return schema::decode_json(std::move(json), *type);
  return schema::decode_json(std::move(json));
}

std::string encode_json(const schema::Document& document) {
  std::string out;
  schema::encode_json(document, out);
  return out;
}

std::string encode_yaml(const schema::Document& document) { return encode_json(document); }

Result<std::string> encode_protobuf(const schema::Document&) { return fail(unsupported("protobuf is not built yet")); }

void apply_defaults(schema::Document&) {}

std::vector<Cause> validate(const schema::Document&, const schema::Document*) { return {}; }

Result<schema::Document> apply_patch(const schema::Document& current, PatchType patch_type, std::string_view patch,
                                     FieldValidation validation, std::vector<std::string>& warnings) {
  return fail(unsupported("patches are not built yet"));
}

}  // namespace dure::apiserver
