// YAML: text <-> Document, as sigs.k8s.io/yaml treats it: YAML 1.1 scalars (yes/no/on/off are
// booleans, 0644 is octal), merge keys, keys as text; written with sorted keys in block style. YAML
// becomes JSON first, so everything schema/json.h says holds here too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schema/document.h"
#include "schema/json.h"

namespace dure::schema {

// The first document of the text as JSON ("null" when there is none). Nesting, the number of nodes
// and what aliases may multiply are bounded.
Result<std::string> yaml_to_json(std::string_view yaml);

Result<Document> decode_yaml(std::string_view yaml, const Type& type, const DecodeOptions& options = {});
Result<Document> decode_yaml(std::string_view yaml);  // untyped

// The documents of a text that are separated by lines of `---`; empty ones are left out. Views into
// `text`.
std::vector<std::string_view> split_yaml(std::string_view text);

// Appends.
void encode_yaml(const Document& document, std::string& out);

}  // namespace dure::schema
