#include "controllers/controllers.h"

#include "controllers/control_plane_node.h"
#include "controllers/daemon_set.h"
#include "controllers/deployment.h"
#include "controllers/disruption.h"
#include "controllers/endpoints.h"
#include "controllers/garbage_collector.h"
#include "controllers/job.h"
#include "controllers/namespace.h"
#include "controllers/replica_set.h"
#include "controllers/service_account.h"
#include "kinds/kinds.h"

namespace dure::controllers {

void add_all(client::Runner& runner, client::Client&, client::Caches& caches, Options options) {
  client::Client& client = caches.client();
  if (options.resources.empty()) options.resources.assign(kinds::resources().begin(), kinds::resources().end());

  runner.add(namespace_lifecycle(client, caches, options.resources));
  runner.add(garbage_collector(client, caches, options.resources));
  runner.add(service_account(client, caches));
  if (!options.root_ca_pem.empty()) runner.add(root_ca_publisher(client, caches, options.root_ca_pem));

  runner.add(deployment(client, caches));
  runner.add(replica_set(client, caches));
  runner.add(daemon_set(client, caches));
  runner.add(job(client, caches));
  runner.add(job_orphans(client, caches));
  runner.add(ttl_after_finished(client, caches));

  runner.add(disruption(client, caches));

  runner.add(endpoint_slice(client, caches));
  runner.add(endpoints(client, caches));
  runner.add(endpoint_mirror(client, caches));

  runner.add(node_lifecycle(client, caches, options.node_lifecycle));
  runner.add(taint_eviction(client, caches));
  if (!options.control_plane_node.empty())
    runner.add(control_plane_node(client, caches, std::move(options.control_plane_node)));
  if (!options.cluster_cidrs.empty())
    runner.add(node_ipam(client, caches, {options.cluster_cidrs, options.node_mask_v4, options.node_mask_v6}));
  runner.add(pod_gc(client, caches, options.pod_gc));

  if (options.read_request) {
    runner.add(certificate_approver(client, caches, options.read_request, options.machine_of_proof));
    if (options.sign) runner.add(certificate_signer(client, caches, options.read_request, options.sign));
    runner.add(certificate_sweeper(client, caches));
  }
  if (options.token_keys.sign) runner.add(cluster_info_signer(client, caches, options.token_keys));
  runner.add(token_cleaner(client, caches, options.token_keys));
}

}  // namespace dure::controllers
