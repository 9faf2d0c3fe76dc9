// What every object has, read without knowing its kind. Absent reads as empty.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/client.h"

namespace dure::client {

const schema::Node* metadata_of(const schema::Document& object);
std::string_view meta_string(const schema::Object& object, std::string_view field);  // metadata.<field>
Key key_of(const schema::Object& object);
Key key_of(const schema::Document& object);
std::string_view uid_of(const schema::Object& object);
std::string_view name_of(const schema::Object& object);
std::string_view namespace_of(const schema::Object& object);
std::string_view resource_version_of(const schema::Object& object);
int64_t revision_of(const schema::Object& object);  // resourceVersion as a number; 0 when it is none
int64_t generation_of(const schema::Object& object);
bool is_terminating(const schema::Object& object);  // metadata.deletionTimestamp is set
std::string_view label(const schema::Object& object, std::string_view key);
std::string_view annotation(const schema::Object& object, std::string_view key);
bool has_finalizer(const schema::Object& object, std::string_view finalizer);

struct OwnerReference {  // views into the object
  std::string_view api_version, kind, name, uid;
  bool controller = false, block_owner_deletion = false;
};
std::vector<OwnerReference> owners_of(const schema::Object& object);
// The one with controller = true; empty uid when there is none.
OwnerReference controller_of(const schema::Object& object);

}  // namespace dure::client
