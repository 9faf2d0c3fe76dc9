// The schemas of types, for openapi.cpp. Private to schema/.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "schema/openapi.h"
#include "schema/rows.h"

namespace dure::schema {

// Writes schemas and remembers what they refer to.
class OpenApiSchemas {
 public:
  explicit OpenApiSchemas(OpenApiVersion version) : version_(version) {}

  // {"$ref":...}; the type will be written.
  std::string reference(const Type& type);
  // All types referred to so far and what these refer to: `"name":{...},...` sorted by name.
  std::string write_all();
  // Every type that is reached, in the order in which it was found.
  const std::vector<const Type*>& reached() const { return queue_; }

 private:
  std::string plain_reference(std::string_view name);
  std::string type_schema(const Type& type);
  std::string property(const Field& field);
  std::string element(const Field& field);
  std::string special(std::string_view name, std::string_view schema);
  void add_list_extensions(std::string& out, const Field& field);

  const OpenApiVersion version_;
  std::vector<const Type*> queue_;
  std::set<const Type*> known_;
  std::set<std::pair<std::string, std::string>> specials_;  // name, schema
};

void append_json_text(std::string& out, std::string_view text);  // a JSON string with quotes

}  // namespace dure::schema
