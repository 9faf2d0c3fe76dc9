#include "apiserver/codec.h"

#include <fmt/format.h>

#include "apiserver/peek.h"
#include "apiserver/status.h"
#include "base/text.h"
#include "schema/defaults.h"
#include "schema/json.h"
#include "schema/patch.h"
#include "schema/proto.h"
#include "schema/rows.h"
#include "schema/validate.h"
#include "schema/validate.h"
#include "schema/yaml.h"

namespace dure::apiserver {

namespace {

constexpr std::string_view offered = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

schema::Strictness strictness(FieldValidation validation) {
  switch (validation) {
    case FieldValidation::ignore:
      return schema::Strictness::ignore;
    case FieldValidation::warn:
      return schema::Strictness::warn;
    case FieldValidation::strict:
      return schema::Strictness::strict;
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
  if (media == MediaType::yaml) {
    DURE_TRY(body, schema::yaml_to_json(body));
  }
  SharedBytes input(std::move(body));
  if (media == MediaType::protobuf) {
    if (!type) return fail(unsupported_media_type("application/json, application/yaml"));
    DURE_TRY(decoded.document, schema::decode_proto(std::move(input), *type));
    return decoded;
  }
  if (type) {
    DURE_TRY(decoded.document, schema::decode_json(std::move(input), *type, options));
  } else {
    DURE_TRY(decoded.document, schema::decode_json(std::move(input)));
  }
  return decoded;
}

Result<TypeNames> peek_type(std::string_view body, MediaType media) {
  TypeNames names;
  if (media == MediaType::protobuf) {
    DURE_TRY(const schema::ProtoEnvelope envelope, schema::open_envelope(body));
    return TypeNames{std::string(envelope.api_version), std::string(envelope.kind)};
  }
  if (media == MediaType::yaml) {
    DURE_TRY(const std::string json, schema::yaml_to_json(body));
    return peek_type(json, MediaType::json);
  }
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

std::string encode_yaml(const schema::Document& document) {
  std::string out;
  schema::encode_yaml(document, out);
  return out;
}

std::string encode_protobuf(const schema::Document& document) {
  std::string out;
  schema::encode_proto(document, out);
  return out;
}

void apply_defaults(schema::Document& document) { schema::apply_defaults(document); }

std::vector<Cause> validate(const schema::Document& document, const schema::Document* old) {
  return schema::validate(document, old);
}

Result<schema::Document> apply_patch(const schema::Document& current, PatchType patch_type, std::string_view patch,
                                     FieldValidation validation, std::vector<std::string>& warnings) {
  const schema::Type* type = current.type();
  if (patch_type == PatchType::apply)
    return fail(unsupported("server-side apply is not built yet; use kubectl apply without --server-side"));
  if (!type) return fail(unsupported("this kind has no rows to patch by"));
  auto patched = patch_type == PatchType::json    ? schema::apply_json_patch(current, patch)
                 : patch_type == PatchType::merge ? schema::apply_merge_patch(current, patch)
                                                  : schema::apply_strategic_patch(current, *type, patch);
  if (!patched) return patched;
  return schema::retype(patched->root(), *type, {strictness(validation), &warnings});
}

}  // namespace dure::apiserver
