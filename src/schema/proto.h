// Protobuf: bytes <-> Document, for kinds of the Kubernetes API (with their envelope) and for plain
// messages (CRI).
//
// Kubernetes speaks proto2 with its own presence rules: rows that are no pointers are always
// written, zero or not; pointers, lists and maps only when set. Types whose file says `syntax
// proto3` follow proto3. Fields are written in the order of their numbers, maps by key, so that
// equal objects have equal bytes. Unknown fields are skipped.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "schema/document.h"

namespace dure::schema {

// The frame around every object: "k8s\0" and a runtime.Unknown.
struct ProtoEnvelope {
  std::string_view api_version, kind;
  std::string_view raw;  // the message itself
  std::string_view content_encoding, content_type;
};

// Views into `bytes`. Errors are "BadRequest".
Result<ProtoEnvelope> open_envelope(std::string_view bytes);
void encode_envelope(std::string_view api_version, std::string_view kind, std::string_view raw,
                     std::string& out);  // appends

// A whole object with its envelope. apiVersion and kind of the result are the envelope's.
Result<Document> decode_proto(SharedBytes input, const Type& type);
// Appends. Without apiVersion and kind in the document its type's are written.
void encode_proto(const Document& document, std::string& out);

// A message without an envelope. Strings of the result point into `input`; bytes become base64
// text.
Result<Document> decode_message(SharedBytes input, const Type& type);
void encode_message(const Node* node, const Type& type,
                    std::string& out);  // appends; node may be null: all absent
inline void encode_message(const Document& document, std::string& out) {
  encode_message(document.root(), *document.type(), out);
}

// A WatchEvent around an object that is encoded already, as protobuf watch streams carry it: the object in its
// envelope, the event without one, each event after its length in four bytes, big endian, which the caller writes.
void encode_watch_event(std::string_view event_type, std::string_view encoded_object, std::string& out);

}  // namespace dure::schema
