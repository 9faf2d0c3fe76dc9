#include "apiserver/stored.h"

#include <charconv>
#include <cstring>

#include "apiserver/codec.h"
#include "apiserver/peek.h"

namespace dure::apiserver {

namespace {

constexpr std::string_view placeholder = "\"resourceVersion\":\"0\"";
constexpr std::string_view splice_head = ",\"resourceVersion\":\"";

uint32_t offset_of(std::string_view value) {
  return static_cast<uint8_t>(value[0]) | static_cast<uint8_t>(value[1]) << 8 | static_cast<uint8_t>(value[2]) << 16 |
         static_cast<uint32_t>(static_cast<uint8_t>(value[3])) << 24;
}

std::string_view digits(store::Revision revision, char (&buffer)[24]) {
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, revision);
  return {buffer, static_cast<size_t>(end - buffer)};
}

// Where the placeholder stands, with the comma before it.
size_t find_placeholder(std::string_view json) {
  const std::string_view metadata = json_member(json, "metadata");
  JsonCursor cursor(metadata);
  while (cursor.next())
    if (cursor.key() == "resourceVersion") return static_cast<size_t>(cursor.key().data() - json.data()) - 1;
  return std::string_view::npos;
}

}  // namespace

SharedBytes make_stored(schema::Document& object) {
  schema::Node* metadata = object.member(object.root(), "metadata");
  object.set(object.member(metadata, "resourceVersion"), "0");
  std::string json = encode_json(object);
  object.erase(metadata, "resourceVersion");
  const size_t at = find_placeholder(json);
  DURE_ASSERT(at != std::string_view::npos && json[at - 1] == ',');  // the name stands before it
  std::string value(4, '\0');
  value.reserve(4 + json.size() - placeholder.size() - 1);
  const auto offset = static_cast<uint32_t>(at - 1);
  for (int i = 0; i < 4; ++i) value[static_cast<size_t>(i)] = static_cast<char>(offset >> (8 * i));
  value.append(json, 0, at - 1);
  value.append(json, at + placeholder.size());
  return SharedBytes(std::move(value));
}

std::string_view stored_json(std::string_view value) {
  return value.size() < 4 || offset_of(value) > value.size() - 4 ? std::string_view{} : value.substr(4);
}

SharedBytes stored_json(const SharedBytes& value) {
  return stored_json(value.view()).empty() ? SharedBytes{} : value.slice(4);
}

void append_spliced(std::string& out, std::string_view value, store::Revision revision, std::string_view head) {
  const std::string_view json = stored_json(value);
  if (json.empty()) {
    out += "null";
    return;
  }
  const uint32_t offset = offset_of(value);
  char buffer[24];
  size_t from = 0;
  if (!head.empty() && json.starts_with(head) && head.size() <= offset) {
    out += '{';
    from = head.size();
  }
  out.append(json.substr(from, offset - from));
  out.append(splice_head);
  out.append(digits(revision, buffer));
  out += '"';
  out.append(json.substr(offset));
}

std::string spliced(std::string_view value, store::Revision revision) {
  std::string out;
  out.reserve(value.size() + 48);
  append_spliced(out, value, revision);
  return out;
}

Result<schema::Document> decode_object(const schema::Type* type, const SharedBytes& value, store::Revision revision) {
  DURE_TRY(schema::Document document, decode_stored(type, stored_json(value)));
  char buffer[24];
  schema::Node* metadata = document.member(document.root(), "metadata");
  document.set(document.member(metadata, "resourceVersion"), digits(revision, buffer));
  return document;
}

}  // namespace dure::apiserver
