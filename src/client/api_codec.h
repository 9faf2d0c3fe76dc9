// Answers of an API server as values. Internal to connect.cpp; also what tests of wire forms use.
#pragma once

#include <string>
#include <string_view>

#include "client/client.h"

namespace dure::client {

Result<schema::Object> decode_object(const Resource& resource, std::string_view subresource, std::string json);
Result<ObjectList> decode_list(const Resource& resource, std::string_view json);
// One line of a watch stream; a line of type ERROR is answered as its Error.
Result<WatchEvent> decode_event(const Resource& resource, std::string_view line);
// A Status body, or what can be said without one.
Error decode_status(int http_status, std::string_view body);
std::string encode_delete_options(const DeleteOptions& options);

}  // namespace dure::client
