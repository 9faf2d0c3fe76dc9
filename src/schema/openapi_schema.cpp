#include "schema/openapi_schema.h"

#include <algorithm>
#include <map>

#include "schema/document.h"

namespace dure::schema {

namespace {

constexpr std::string_view meta_v1 = "io.k8s.apimachinery.pkg.apis.meta.v1.";

std::string member(std::string_view name, std::string_view raw) {
  std::string out;
  append_json_text(out, name);
  return out.append(":").append(raw);
}

std::string text(std::string_view value) {
  std::string out;
  append_json_text(out, value);
  return out;
}

std::string text_list(std::span<const std::string_view> values) {
  std::string out = "[";
  for (const std::string_view value : values) {
    if (out.size() > 1) out += ',';
    append_json_text(out, value);
  }
  return out + "]";
}

// Puts `more` before the closing brace of `object`.
void extend(std::string& object, std::string_view more) {
  if (more.empty()) return;
  object.pop_back();
  if (object.size() > 1) object += ',';
  object.append(more).append("}");
}

// A default that the published documents show: of the rows, or the zero value of what is always written.
std::string default_of(const Field& field) {
  if (field.rules && field.rules->has_default && field.rules->default_when.empty()) {
    const std::string_view value = field.rules->default_json;
    const bool is_json =
        !value.empty() && (value.find_first_of("{[\"") == 0 || value == "true" || value == "false" ||
                           value.find_first_not_of("-0123456789.") == std::string_view::npos);
    const bool is_text = field.shape == Shape::single && field.value == Value::string;
    return is_text || !is_json ? text(value) : std::string(value);
  }
  if (field.shape != Shape::single || field.pointer) return {};
  if (field.is_message() && !field.omit_zero) return "{}";
  if (field.omit_empty || field.omit_zero) return {};
  switch (field.value) {
    case Value::string:
      return "\"\"";
    case Value::boolean:
      return "false";
    case Value::int32:
    case Value::int64:
      return "0";
    default:
      return {};
  }
}

}  // namespace

void append_json_text(std::string& out, std::string_view value) {
  static constexpr char hex[] = "0123456789abcdef";
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out.append("\\u00") += {hex[c >> 4], hex[c & 15]};
    else
      out += c;
  }
  out += '"';
}

std::string openapi_name(const Type& type) {
  std::string package(type.package);
  std::replace(package.begin(), package.end(), '_', '-');
  if (package.starts_with("k8s.io.")) package = "io.k8s." + package.substr(7);
  return package + "." + std::string(type.name);
}

std::string OpenApiSchemas::plain_reference(std::string_view name) {
  const std::string_view where = version_ == OpenApiVersion::v3 ? "#/components/schemas/" : "#/definitions/";
  return "{\"$ref\":" + text(std::string(where) + std::string(name)) + "}";
}

std::string OpenApiSchemas::reference(const Type& type) {
  if (known_.insert(&type).second) queue_.push_back(&type);
  return plain_reference(openapi_name(type));
}

std::string OpenApiSchemas::special(std::string_view name, std::string_view schema) {
  specials_.emplace(std::string(name), std::string(schema));
  return plain_reference(name);
}

// One value, whatever the shape around it.
std::string OpenApiSchemas::element(const Field& field) {
  const bool v3 = version_ == OpenApiVersion::v3;
  switch (field.value) {
    case Value::string: {
      std::string out = R"({"type":"string"})";
      if (field.rules && !field.rules->enum_values.empty())
        extend(out, member("enum", text_list(field.rules->enum_values)));
      return out;
    }
    case Value::boolean:
      return R"({"type":"boolean"})";
    case Value::int32:
    case Value::uint32:
      return R"({"type":"integer","format":"int32"})";
    case Value::int64:
    case Value::uint64:
      return R"({"type":"integer","format":"int64"})";
    case Value::float64:
    case Value::float32:
      return R"({"type":"number","format":"double"})";
    case Value::bytes:
      return R"({"type":"string","format":"byte"})";
    case Value::any:
      return "{}";
    case Value::quantity:
      return special("io.k8s.apimachinery.pkg.api.resource.Quantity",
                     v3 ? R"({"oneOf":[{"type":"string"},{"type":"number"}]})" : R"({"type":"string"})");
    case Value::int_or_string:
      return special("io.k8s.apimachinery.pkg.util.intstr.IntOrString",
                     v3 ? R"({"format":"int-or-string","oneOf":[{"type":"integer"},{"type":"string"}]})"
                        : R"({"type":"string","format":"int-or-string"})");
    case Value::time:
      return special(std::string(meta_v1) + "Time", R"({"type":"string","format":"date-time"})");
    case Value::micro_time:
      return special(std::string(meta_v1) + "MicroTime", R"({"type":"string","format":"date-time"})");
    case Value::duration:
      return special(std::string(meta_v1) + "Duration", R"({"type":"string"})");
    case Value::raw_extension:
      return special("io.k8s.apimachinery.pkg.runtime.RawExtension", R"({"type":"object"})");
    case Value::fields_v1:
      return special(std::string(meta_v1) + "FieldsV1", R"({"type":"object"})");
    case Value::message:
      return field.type ? reference(*field.type) : std::string("{}");
    case Value::message_or_list:
    case Value::message_or_boolean:
    case Value::message_or_strings:
      return "{}";
  }
  return "{}";
}

void OpenApiSchemas::add_list_extensions(std::string& out, const Field& field) {
  if (field.shape == Shape::list) {
    if (field.list_kind == ListKind::atomic) extend(out, R"("x-kubernetes-list-type":"atomic")");
    if (field.list_kind == ListKind::set) extend(out, R"("x-kubernetes-list-type":"set")");
    if (field.list_kind == ListKind::map) {
      if (field.rules) extend(out, member("x-kubernetes-list-map-keys", text_list(field.rules->list_keys)));
      extend(out, R"("x-kubernetes-list-type":"map")");
    }
  }
  if (field.rules && !field.rules->merge_key.empty())
    extend(out, member("x-kubernetes-patch-merge-key", text(field.rules->merge_key)));
  std::string strategy = field.patch_merge ? "merge" : field.patch_replace ? "replace" : "";
  if (field.patch_retain_keys) strategy += strategy.empty() ? "retainKeys" : ",retainKeys";
  if (!strategy.empty()) extend(out, member("x-kubernetes-patch-strategy", text(strategy)));
  if (field.atomic && field.shape != Shape::list) extend(out, R"("x-kubernetes-map-type":"atomic")");
}

std::string OpenApiSchemas::property(const Field& field) {
  std::string out;
  const std::string one = field.item ? property(*field.item) : element(field);
  const bool is_reference = one.starts_with("{\"$ref\"");
  // In version 3 nothing may stand beside a $ref.
  const std::string wrapped =
      is_reference && version_ == OpenApiVersion::v3 ? "{\"allOf\":[" + one + "]}" : one;
  if (field.shape == Shape::list) {
    out = "{\"type\":\"array\"," + member("items", one) + "}";
  } else if (field.shape == Shape::map) {
    out = "{\"type\":\"object\"," + member("additionalProperties", one) + "}";
  } else {
    out = wrapped;
  }
  if (version_ == OpenApiVersion::v3)
    if (const std::string value = default_of(field); !value.empty()) extend(out, member("default", value));
  if (field.doc) extend(out, member("description", text(field.doc)));
  add_list_extensions(out, field);
  if (out.ends_with("}") && version_ == OpenApiVersion::v3 && out == "{\"allOf\":[" + one + "]}") return one;
  return out;
}

std::string OpenApiSchemas::type_schema(const Type& type) {
  std::string properties, required;
  std::vector<const Field*> fields;
  for (const Field& field : type.fields)
    if (!field.internal && !field.name.empty()) fields.push_back(&field);
  std::sort(fields.begin(), fields.end(), [](const Field* a, const Field* b) { return a->name < b->name; });
  for (const Field* field : fields) {
    if (!properties.empty()) properties += ',';
    properties += member(field->name, property(*field));
    if (!field->required) continue;
    if (!required.empty()) required += ',';
    append_json_text(required, field->name);
  }
  std::string out = R"({"type":"object"})";
  if (type.doc) extend(out, member("description", text(type.doc)));
  if (!properties.empty()) extend(out, "\"properties\":{" + properties + "}");
  if (!required.empty()) extend(out, "\"required\":[" + required + "]");
  if (type.is_kind) {
    const std::string_view api_version = type.api_version;
    const size_t slash = api_version.find('/');
    const std::string_view group =
        slash == std::string_view::npos ? std::string_view{} : api_version.substr(0, slash);
    const std::string_view version =
        slash == std::string_view::npos ? api_version : api_version.substr(slash + 1);
    extend(out, "\"x-kubernetes-group-version-kind\":[{" + member("group", text(group)) + "," +
                    member("kind", text(type.name)) + "," + member("version", text(version)) + "}]");
  }
  if (type.atomic) extend(out, R"("x-kubernetes-map-type":"atomic")");
  return out;
}

std::string OpenApiSchemas::write_all() {
  std::map<std::string, std::string> schemas;
  for (size_t i = 0; i < queue_.size(); ++i)
    schemas[openapi_name(*queue_[i])] = type_schema(*queue_[i]);  // grows while it runs
  for (const auto& [name, schema] : specials_) schemas[name] = schema;
  std::string out;
  for (const auto& [name, schema] : schemas) {
    if (!out.empty()) out += ',';
    out += member(name, schema);
  }
  return out;
}

}  // namespace dure::schema
