// Discovery: which groups, versions and resources there are, plain and aggregated. Texts are made once per Catalog.
// Thread: any.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "apiserver/catalog.h"

namespace dure::apiserver {

class Discovery {
 public:
  explicit Discovery(const Catalog& catalog);

  // The JSON for a path such as /api, /apis, /apis/apps or /apis/apps/v1; null when it is none of discovery's.
  const std::string* plain(std::string_view path) const;
  struct Aggregated {
    std::string body, etag;
    std::string content_type;
  };
  // /api and /apis as APIGroupDiscoveryList; `version`: "v2" or "v2beta1".
  const Aggregated* aggregated(std::string_view path, std::string_view version) const;
  // The version that an Accept header asks aggregated discovery in, or empty.
  static std::string_view aggregated_version(std::string_view accept);
  const std::string& paths() const { return paths_; }  // of "/": every path that is served

 private:
  std::map<std::string, std::string, std::less<>> plain_;
  std::map<std::string, Aggregated, std::less<>> aggregated_;  // "v2/api"
  std::string paths_;
};

}  // namespace dure::apiserver
