// AtomicWriter: a folder whose files change all at once. The files live in a hidden folder with a time in its name,
// `..data` is a link to it, and each visible name is a link through `..data`; replacing that one link replaces
// everything. Containers that watch `..data` see one change. The layout is the one Kubernetes documents for ConfigMap
// and Secret volumes.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "volumes/files.h"

namespace dure::volumes {

struct FileProjection {
  std::string bytes;
  mode_t mode = 0644;
  std::optional<uid_t> owner;
  friend bool operator==(const FileProjection&, const FileProjection&) = default;
};
using Payload = std::map<std::string, FileProjection>;  // relative path -> file

// Answers whether anything changed. `prepare` is called with the new hidden folder before it becomes visible. Thread:
// one per target.
Result<bool> write_payload(const std::string& target, const Payload& payload, WallTime now,
                           const std::function<Status(const std::string& folder)>& prepare = {});

// A path a projected file may have: relative, without "..", not starting with "..".
Status check_projection_path(std::string_view path);

}  // namespace dure::volumes
