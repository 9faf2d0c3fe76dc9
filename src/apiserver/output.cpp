#include "apiserver/output.h"

#include <algorithm>

#include <fmt/format.h>

#include "apiserver/codec.h"
#include "apiserver/peek.h"
#include "apiserver/table.h"
#include "base/text.h"
#include "kinds/kinds.h"
#include "schema/json.h"
#include "schema/proto.h"
#include "schema/rows.h"
#include "schema/yaml.h"

namespace dure::apiserver {

using schema::Document;

namespace {

constexpr std::string_view json_type = "application/json", yaml_type = "application/yaml",
                           proto_type = "application/vnd.kubernetes.protobuf",
                           offered = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

// --- negotiation

struct Clause {
  std::string type;
  std::string as, group, version;
  double quality = 1;
};

std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') return text.substr(1, text.size() - 2);
  return text;
}

double quality_of(std::string_view text) {
  double value = 0, scale = 1;
  bool fraction = false;
  for (const char c : text) {
    if (c == '.') {
      fraction = true;
    } else if (c >= '0' && c <= '9') {
      if (fraction)
        value += (c - '0') * (scale /= 10);
      else
        value = value * 10 + (c - '0');
    }
  }
  return std::min(value, 1.0);
}

Clause read_clause(std::string_view text) {
  Clause clause;
  bool first = true;
  for (const std::string_view raw : split(text, ';')) {
    const std::string_view part = trim(raw);
    if (std::exchange(first, false)) {
      clause.type = lower(part);
      continue;
    }
    const size_t equal = part.find('=');
    if (equal == std::string_view::npos) continue;
    const std::string_view name = part.substr(0, equal), value = unquoted(part.substr(equal + 1));
    if (name == "as")
      clause.as = value;
    else if (name == "g")
      clause.group = value;
    else if (name == "v")
      clause.version = value;
    else if (name == "q")
      clause.quality = quality_of(value);
  }
  return clause;
}

std::optional<Output::Format> format_of(std::string_view type) {
  if (type == json_type || type == "*/*" || type == "application/*") return Output::Format::json;
  if (type == yaml_type || type == "application/x-yaml") return Output::Format::yaml;
  if (type == proto_type) return Output::Format::protobuf;
  return std::nullopt;
}

std::optional<Output> output_of(const Clause& clause, bool transforms) {
  const auto format = format_of(clause.type);
  if (!format) return std::nullopt;
  Output output{.format = *format};
  if (clause.as.empty()) return output;
  if (!transforms) return clause.as == "Table" ? std::nullopt : std::optional(output);
  if (!clause.group.empty() && clause.group != "meta.k8s.io") return std::nullopt;
  if (clause.version != "v1" && clause.version != "v1beta1") return std::nullopt;
  output.table_version = clause.version == "v1" ? "v1" : "v1beta1";
  if (clause.as == "Table" && *format != Output::Format::protobuf)
    output.as = Output::As::table;
  else if (clause.as == "PartialObjectMetadata" || clause.as == "PartialObjectMetadataList")
    output.as = Output::As::partial;
  else
    return std::nullopt;
  return output;
}

// --- pieces

std::string meta_version(const Output& output) { return fmt::format("meta.k8s.io/{}", output.table_version); }

// The object as the served version has it, with its version.
std::string object_json(const Served& served, std::string_view value, const SharedBytes& shared,
                        store::Revision revision) {
  if (!served.conversion) return spliced(value, revision);
  auto document = decode(served, store::Entry{{}, 0, revision, shared});
  return document ? encode_json(*document) : std::string("null");
}

std::string partial_json(const Output& output, std::string_view object) {
  return fmt::format(R"({{"kind":"PartialObjectMetadata","apiVersion":"{}","metadata":{}}})", meta_version(output),
                     json_member(object, "metadata"));
}

std::string table_head(const Output& output, const std::string& list_metadata) {
  return fmt::format(R"({{"kind":"Table","apiVersion":"{}","metadata":{},"columnDefinitions":)", meta_version(output),
                     list_metadata);
}

std::string table_row(const Output& output, const Served& served, const Document& document, WallTime now) {
  std::string row = "{\"cells\":" + table_cells(*served.resource, document, now);
  if (output.include == Output::Include::object) row += ",\"object\":" + encode_json(document);
  if (output.include == Output::Include::metadata) row += ",\"object\":" + partial_json(output, encode_json(document));
  return row + "}";
}

std::string table_json(const Output& output, const Served& served, const Document& document, WallTime now) {
  std::string version = "{";
  if (const schema::Node* v = document.root()->find("metadata", "resourceVersion"))
    version += fmt::format("\"resourceVersion\":\"{}\"", v->string());
  return table_head(output, version + "}") + column_definitions(*served.resource) + ",\"rows\":[" +
         table_row(output, served, document, now) + "]}";
}

// Meta types in protobuf: Status, PartialObjectMetadata and the like are rows as well.
std::string meta_protobuf(std::string json, std::string_view api_version, std::string_view kind) {
  const schema::Type* type = kinds::find_type(api_version, kind);
  if (!type) type = kinds::find_type("v1", kind);
  if (!type) return {};
  auto document = schema::decode_json(SharedBytes(std::move(json)), *type);
  if (!document) return {};
  document->set(document->member(document->root(), "apiVersion"), api_version);
  document->set(document->member(document->root(), "kind"), kind);
  return encode_protobuf(*document);
}

std::string yaml_of(std::string json) {
  auto document = schema::decode_json(SharedBytes(std::move(json)));
  return document ? encode_yaml(*document) : std::string{};
}

std::string pretty_json(std::string json) {
  auto document = schema::decode_json(SharedBytes(std::move(json)));
  std::string out;
  if (document) schema::encode_json(*document, out, true);
  return out + "\n";
}

// JSON text in the text format that was asked for.
std::string as_text(const Output& output, std::string json) {
  if (output.format == Output::Format::yaml) return yaml_of(std::move(json));
  if (output.pretty) return pretty_json(std::move(json));
  json += '\n';
  return json;
}

std::string list_metadata(const ListResult& list) {
  std::string out = fmt::format("{{\"resourceVersion\":\"{}\"", list.revision);
  if (!list.continue_token.empty()) out += fmt::format(",\"continue\":\"{}\"", list.continue_token);
  if (list.remaining) out += fmt::format(",\"remainingItemCount\":{}", *list.remaining);
  return out + "}";
}

std::string object_output(const Output& output, const Served& served, const SharedBytes& value,
                          store::Revision revision, WallTime now) {
  if (output.as == Output::As::object && output.format != Output::Format::protobuf)
    return object_json(served, value.view(), value, revision);
  if (output.as == Output::As::partial) {
    const std::string partial = partial_json(output, object_json(served, value.view(), value, revision));
    return output.format == Output::Format::protobuf
               ? meta_protobuf(partial, meta_version(output), "PartialObjectMetadata")
               : partial;
  }
  auto document = decode(served, store::Entry{{}, 0, revision, value});
  if (!document) return "null";
  if (output.as == Output::As::table) return table_json(output, served, *document, now);
  return encode_protobuf(*document);
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_field(std::string& out, int number, std::string_view message) {
  append_varint(out, static_cast<uint64_t>(number) << 3 | 2);
  append_varint(out, message.size());
  out += message;
}

std::string frame(std::string message) {
  const auto size = static_cast<uint32_t>(message.size());
  std::string out;
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(size >> shift);
  return out + message;
}

std::string protobuf_event(std::string_view type, std::string_view object) {
  std::string out;
  schema::encode_watch_event(type, object, out);
  return frame(std::move(out));
}

std::string json_event(std::string_view type, std::string_view object) {
  std::string out;
  out.reserve(object.size() + 40);
  out.append("{\"type\":\"").append(type).append("\",\"object\":").append(object).append("}\n");
  return out;
}

}  // namespace

std::string_view Output::content_type(bool watch) const {
  switch (format) {
    case Format::json:
      return json_type;
    case Format::yaml:
      return yaml_type;
    case Format::protobuf:
      return watch ? "application/vnd.kubernetes.protobuf;stream=watch" : proto_type;
  }
  return json_type;
}

std::string Output::key() const {
  return fmt::format("{}{}{}{}", static_cast<int>(format), static_cast<int>(as), static_cast<int>(include),
                     table_version);
}

Result<Output> negotiate(std::string_view accept, bool transforms) {
  if (trim(accept).empty()) return Output{};
  std::vector<Clause> clauses;
  for (const std::string_view part : split(accept, ',')) clauses.push_back(read_clause(trim(part)));
  std::stable_sort(clauses.begin(), clauses.end(),
                   [](const Clause& a, const Clause& b) { return a.quality > b.quality; });
  for (const Clause& clause : clauses)
    if (auto output = output_of(clause, transforms)) return *output;
  return fail(not_acceptable(offered));
}

Status read_include(std::string_view include_object, Output& output) {
  if (include_object.empty() || include_object == "Metadata")
    output.include = Output::Include::metadata;
  else if (include_object == "None")
    output.include = Output::Include::none;
  else if (include_object == "Object")
    output.include = Output::Include::object;
  else
    return fail(bad_request(fmt::format("unrecognized includeObject value: \"{}\"", include_object)));
  return {};
}

Rendered render_object(const Output& output, const StoredObject& object, WallTime now) {
  std::string body = object_output(output, *object.served, object.value, object.revision, now);
  if (output.format != Output::Format::protobuf) body = as_text(output, std::move(body));
  return {std::move(body), output.content_type()};
}

Rendered render_document(const Output& output, const Document& document, const Served* served, WallTime now) {
  if (output.format == Output::Format::protobuf && document.type()) return {encode_protobuf(document), proto_type};
  if (output.as == Output::As::table && served)
    return {as_text(output, table_json(output, *served, document, now)), output.content_type()};
  if (output.as == Output::As::partial)
    return {as_text(output, partial_json(output, encode_json(document))), output.content_type()};
  return {as_text(output, encode_json(document)), output.format == Output::Format::yaml ? yaml_type : json_type};
}

Rendered render_json_text(const Output& output, std::string json) {
  if (output.format == Output::Format::protobuf) {
    const std::string version = json_text(json_member(json, "apiVersion")), kind = json_text(json_member(json, "kind"));
    if (std::string body = meta_protobuf(json, version, kind); !body.empty()) return {std::move(body), proto_type};
  }
  return {as_text(output, std::move(json)), output.format == Output::Format::yaml ? yaml_type : json_type};
}

// --- lists

ListRenderer::ListRenderer(Output output, ListResult list, WallTime now)
    : output_(output), list_(std::move(list)), now_(now) {
  const schema::Resource& r = *list_.served->resource;
  item_head_ = fmt::format(R"({{"kind":"{}","apiVersion":"{}",)", r.kind, r.api_version());
}

void ListRenderer::begin(std::string& piece) {
  const schema::Resource& r = *list_.served->resource;
  switch (output_.as) {
    case Output::As::object:
      piece += fmt::format(R"({{"kind":"{}","apiVersion":"{}","metadata":{},"items":[)", r.list_kind, r.api_version(),
                           list_metadata(list_));
      break;
    case Output::As::partial:
      piece += fmt::format(R"({{"kind":"PartialObjectMetadataList","apiVersion":"{}","metadata":{},"items":[)",
                           meta_version(output_), list_metadata(list_));
      break;
    case Output::As::table:
      piece += table_head(output_, list_metadata(list_)) + column_definitions(r) + ",\"rows\":[";
      break;
  }
}

void ListRenderer::item(std::string& piece, const store::Entry& entry) {
  const Served& served = *list_.served;
  if (output_.as == Output::As::object && !served.conversion) {
    append_spliced(piece, entry.value.view(), entry.mod_revision, item_head_);
  } else if (output_.as == Output::As::table) {
    auto document = decode(served, entry);
    piece += document ? table_row(output_, served, *document, now_) : std::string("{\"cells\":[]}");
  } else {
    const std::string object = object_json(served, entry.value.view(), entry.value, entry.mod_revision);
    piece += output_.as == Output::As::partial ? partial_json(output_, object) : object;
  }
}

bool ListRenderer::next(std::string& piece, size_t about_bytes) {
  if (ended_) return false;
  if (!streams()) {
    piece += whole();
    ended_ = true;
    return true;
  }
  if (!std::exchange(begun_, true)) begin(piece);
  while (at_ < list_.entries.size() && piece.size() < about_bytes) {
    if (at_ > 0) piece += ',';
    item(piece, list_.entries[at_]);
    list_.entries[at_++] = {};  // what was written need not be held any longer
  }
  if (at_ == list_.entries.size()) {
    piece += "]}\n";
    ended_ = true;
  }
  return true;
}

// Protobuf needs its total size first; YAML and indented JSON are for people and small.
std::string ListRenderer::whole() {
  if (output_.format != Output::Format::protobuf) {
    std::string json;
    begin(json);
    for (; at_ < list_.entries.size(); ++at_) {
      if (at_ > 0) json += ',';
      item(json, list_.entries[at_]);
    }
    return as_text(output_, json + "]}");
  }
  const Served& served = *list_.served;
  const bool partial = output_.as == Output::As::partial;
  const schema::Type* type =
      partial ? kinds::find_type("meta.k8s.io/v1", "PartialObjectMetadataList") : served.resource->list_type;
  std::string raw;
  if (!type) return raw;
  auto head = schema::decode_json(SharedBytes("{\"metadata\":" + list_metadata(list_) + "}"), *type);
  if (head) schema::encode_message(*head, raw);
  const schema::Field* items = type->find("items");
  const int number = items ? items->number : 2;
  for (; at_ < list_.entries.size(); ++at_) {
    auto document = decode(served, list_.entries[at_]);
    if (!document) continue;
    std::string message;
    if (partial) {
      Document copy(*kinds::find_type("meta.k8s.io/v1", "PartialObjectMetadata"));
      copy.copy(copy.member(copy.root(), "metadata"), document->root()->find("metadata"));
      schema::encode_message(copy, message);
    } else {
      schema::encode_message(*document, message);
    }
    append_field(raw, number, message);
  }
  std::string out;
  const std::string version = partial ? std::string("meta.k8s.io/v1") : served.resource->api_version();
  schema::encode_envelope(version, partial ? std::string_view("PartialObjectMetadataList") : served.resource->list_kind,
                          raw, out);
  return out;
}

// --- watch

std::shared_ptr<const std::string> render_event(const Output& output, const Served& served, EventType type,
                                                WatchItem& item, WallTime now) {
  const bool plain = output.is_plain_json() && !served.conversion;
  const std::string key =
      plain ? std::string("j")
            : output.key() + std::string(served.resource->group) + std::string(served.resource->version);
  return item.encoded(type, key, [&](std::string& out) {
    const SharedBytes& value = item.shown(type);
    if (plain) {
      out.reserve(value.size() + 96);
      out.append("{\"type\":\"").append(event_name(type)).append("\",\"object\":");
      append_spliced(out, value.view(), item.revision);
      out.append("}\n");
      return;
    }
    const std::string object = object_output(output, served, value, item.revision, now);
    out = output.format == Output::Format::protobuf ? protobuf_event(event_name(type), object)
                                                    : json_event(event_name(type), object);
  });
}

std::string render_bookmark(const Output& output, const Served& served, store::Revision revision, bool initial_end) {
  const schema::Resource& r = *served.resource;
  const std::string annotations = initial_end ? R"(,"annotations":{"k8s.io/initial-events-end":"true"})" : "";
  const std::string metadata =
      fmt::format(R"({{"resourceVersion":"{}","creationTimestamp":null{}}})", revision, annotations);
  if (output.as == Output::As::table)
    return json_event("BOOKMARK", table_head(output, fmt::format(R"({{"resourceVersion":"{}"}})", revision)) +
                                      column_definitions(r) + ",\"rows\":[]}");
  const bool partial = output.as == Output::As::partial;
  const std::string version = partial ? meta_version(output) : r.api_version();
  const std::string_view kind = partial ? std::string_view("PartialObjectMetadata") : r.kind;
  std::string object = fmt::format(R"({{"kind":"{}","apiVersion":"{}","metadata":{}}})", kind, version, metadata);
  if (output.format != Output::Format::protobuf) return json_event("BOOKMARK", object);
  return protobuf_event("BOOKMARK", meta_protobuf(std::move(object), version, kind));
}

std::string render_watch_error(const Output& output, const Error& error) {
  if (output.format != Output::Format::protobuf) return json_event("ERROR", status_json(error));
  return protobuf_event("ERROR", meta_protobuf(status_json(error), "v1", "Status"));
}

}  // namespace dure::apiserver
