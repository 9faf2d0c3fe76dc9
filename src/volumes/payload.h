// What a configMap, secret, downwardAPI or projected volume holds, file by file.
#pragma once

#include <functional>
#include <string>

#include "client/client.h"
#include "kinds/views/core_v1.h"
#include "volumes/atomic_writer.h"
#include "volumes/volumes.h"

namespace dure::volumes {

struct PayloadSources {
  // Null: there is no such object.
  std::function<Result<schema::Object>(const client::Resource&, const client::Key&)> object;
  std::function<Result<std::string>(const schema::Object& pod, const kinds::core_v1::ServiceAccountTokenProjection&)>
      token;
  const PodFacts& facts;
};

// True for volumes that are made of files by this room.
bool has_payload(const kinds::core_v1::Volume& volume);
Result<Payload> payload_of(const schema::Object& pod, const kinds::core_v1::Volume& volume,
                           const PayloadSources& sources);

// The one user all containers run as, when they agree: tokens are given to it.
std::optional<uid_t> single_user(const kinds::core_v1::Pod& pod);

}  // namespace dure::volumes
