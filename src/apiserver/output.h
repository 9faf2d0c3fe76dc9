// What a client gets to see: content negotiation, and objects, lists and watch events in each form.
//
// JSON of whole objects is copied from the store with the version spliced in; everything else is decoded first. Pure;
// thread: any.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "apiserver/api.h"

namespace dure::apiserver {

struct Output {
  enum class Format { json, yaml, protobuf };
  enum class As { object, table, partial };
  enum class Include { none, metadata, object };  // what rows of a Table carry

  Format format = Format::json;
  As as = As::object;
  Include include = Include::metadata;
  bool pretty = false;
  std::string_view table_version = "v1";

  std::string_view content_type(bool watch = false) const;
  std::string key() const;  // equal for equal output
  bool is_plain_json() const { return format == Format::json && as == As::object && !pretty; }
};

// 406 when nothing that Accept lists can be made. `transforms`: Table and PartialObjectMetadata make sense here (get,
// list, watch).
Result<Output> negotiate(std::string_view accept, bool transforms);
Status read_include(std::string_view include_object, Output& output);  // ?includeObject=, 400

struct Rendered {
  std::string body;
  std::string_view content_type;
};

Rendered render_object(const Output& output, const StoredObject& object, WallTime now);
Rendered render_document(const Output& output, const schema::Document& document, const Served* served, WallTime now);
Rendered render_json_text(const Output& output, std::string json);  // a ready-made meta object

// A list piece by piece; ends when `next` answers false. The pieces are the whole body one after the other.
class ListRenderer {
 public:
  ListRenderer(Output output, ListResult list, WallTime now);
  bool next(std::string& piece, size_t about_bytes);  // appends
  size_t entries_left() const { return list_.entries.size() - at_; }

 private:
  void begin(std::string& piece);
  void item(std::string& piece, const store::Entry& entry);
  std::string whole();
  bool streams() const { return output_.format == Output::Format::json && !output_.pretty; }

  const Output output_;
  ListResult list_;
  const WallTime now_;
  size_t at_ = 0;
  bool begun_ = false, ended_ = false;
  std::string item_head_;
};

// One frame of a watch stream, made once per event and output.
std::shared_ptr<const std::string> render_event(const Output& output, const Served& served, EventType type,
                                                WatchItem& item, WallTime now);
std::string render_bookmark(const Output& output, const Served& served, store::Revision revision, bool initial_end);
std::string render_watch_error(const Output& output, const Error& error);

}  // namespace dure::apiserver
