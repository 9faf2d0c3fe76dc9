// Every control loop of the server, ready to run.
//
//   auto caches = client::Caches::create(client, pool);
//   auto runner = client::Runner::create(*caches, pool);
//   controllers::add_all(*runner, client, *caches, {.root_ca_pem = ..., .cluster_cidrs = {"10.244.0.0/16"}, ...});
//
// Destroy the runner before the caches. Loops write through `caches.client()`, so that they see their own writes; pass
// the plain client. One process at a time may run them against one cluster.
#pragma once

#include "client/cache.h"
#include "client/loop.h"
#include "controllers/bootstrap_tokens.h"
#include "controllers/certificates.h"
#include "controllers/node_lifecycle.h"
#include "controllers/pod_gc.h"

namespace dure::controllers {

struct Options {
  std::string root_ca_pem;                 // empty: no kube-root-ca.crt ConfigMaps
  std::vector<std::string> cluster_cidrs;  // empty: nodes get no pod CIDR
  std::string control_plane_node;          // the Node this server runs on; empty: none
  int node_mask_v4 = 24, node_mask_v6 = 64;
  ReadRequest read_request = {};  // absent: no CSR loops
  MachineOfProof machine_of_proof = {};
  Sign sign = {};                 // absent: requests are approved but not signed
  TokenKeys token_keys = {};      // absent members: cluster-info is not signed, expired tokens are forgotten
  NodeLifecycleOptions node_lifecycle = {};
  PodGcOptions pod_gc = {};
  // For the garbage collector and namespaces; empty: every built-in resource. Custom resources come with their own
  // issue.
  std::vector<const client::Resource*> resources = {};
};

void add_all(client::Runner& runner, client::Client& client, client::Caches& caches, Options options);

}  // namespace dure::controllers
