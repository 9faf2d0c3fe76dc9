// JSON: bytes <-> Document, as Go's decoder and encoder treat the types of the Kubernetes API.
//
// Decoding with a type drops what the type does not know, brings members into row order, special
// values (Quantity, Time, Duration) into canonical text, and leaves out what means the same as
// absence: null, zero values of rows that are no pointers, empty structs. Encoding is byte for byte
// Go's: rows that are always written appear with their zero value, maps are sorted, HTML characters
// escaped. Go's HTTP answers end with a newline; the caller appends it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schema/document.h"

namespace dure::schema {

// What happens to unknown and duplicate members.
enum class Strictness : uint8_t {
  ignore,  // dropped in silence
  warn,    // dropped, and told in `problems`
  strict,  // the decode fails and names all of them
};

struct DecodeOptions {
  Strictness strictness = Strictness::ignore;
  // With warn: receives `unknown field "spec.foo"`, `duplicate field "spec.x"` (at most 100).
  std::vector<std::string>* problems = nullptr;
};

// Errors are "BadRequest" with upstream's words. For a type that is a kind, mismatches and strict
// errors read `Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal
// string into Go struct field ...`; text that is no JSON reads `invalid character 'x' looking for
// beginning of value`. Strings of the result point into `input`.
Result<Document> decode_json(SharedBytes input, const Type& type, const DecodeOptions& options = {});
// Untyped: members keep their order; integers that fit become int64, other numbers double.
Result<Document> decode_json(SharedBytes input);

// Untyped, into a node of a document that keeps `text` alive (Document::keep).
Status decode_json_into(Document& document, Node* node, std::string_view text, int depth = 0);

// The same object decoded with (another) type: for results of patches and for YAML.
Result<Document> retype(const Node* root, const Type& type, const DecodeOptions& options = {});

// Appends. `indent`: two spaces per level, as published examples are written.
void encode_json(const Document& document, std::string& out, bool indent = false);
// `type` describes `node` when it stands for a whole object (a root); null: what the node's own row
// says.
void encode_json(const Node* node, const Type* type, std::string& out, bool indent = false);
std::string to_json(const Document& document);

// How deep values may nest.
inline constexpr int kDepthMax = 1000;

}  // namespace dure::schema
