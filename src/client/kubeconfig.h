// Kubeconfig: where a cluster is and who one is there, read from the file kubectl uses (kind Config, v1).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "client/connect.h"

namespace dure::client {

struct Kubeconfig {
  std::string context, cluster, user;  // names
  std::string server;                  // "https://192.0.2.1:6443"
  std::string namespace_ = "default";
  Credentials credentials;
};

// `read_file` brings what the config refers to by path (certificate-authority, client-certificate, client-key,
// tokenFile); inline *-data fields win over paths, as upstream has it. `context` empty: current-context. Exec and
// auth-provider users are answered with an Error that names them.
using ReadFile = std::function<Result<std::string>(std::string_view path)>;
Result<Kubeconfig> parse_kubeconfig(std::string_view yaml, const ReadFile& read_file, std::string_view context = {});

}  // namespace dure::client
