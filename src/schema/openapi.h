// OpenAPI from rows: what kubectl explain, completion and client generators read. Version 3 is one document per
// group-version, version 2 one for everything.
//
// Texts are made when asked for (a few milliseconds, up to about 2 MB) and kept by nobody. Pure; thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "schema/resource.h"

namespace dure::schema {

enum class OpenApiVersion { v2, v3 };

struct OpenApiInput {
  std::span<const Resource* const> resources;
  std::string_view server_version;       // "v1.34.0"
  const Type* status = nullptr;          // meta/v1 Status
  const Type* delete_options = nullptr;  // meta/v1 DeleteOptions
};

std::string openapi_document(OpenApiVersion version, const OpenApiInput& input);

// Changes when the document would: names, types and rules of every row that is reached.
uint64_t openapi_fingerprint(const OpenApiInput& input);

// "io.k8s.api.apps.v1.Deployment"
std::string openapi_name(const Type& type);

}  // namespace dure::schema
