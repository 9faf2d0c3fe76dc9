#include "bootstrap/first_start.h"

#include <fmt/format.h>

#include "base/ip.h"
#include "bootstrap/discovery.h"
#include "bootstrap/journal.h"
#include "os/clock.h"
#include "os/disk.h"
#include "pki/folder.h"
#include "pki/kubeconfig.h"

namespace dure::bootstrap {
namespace {

// The agent beside the server needs no token: whoever holds the CA's key can sign for it.
Status write_kubelet_conf(os::Disk& disk, os::Random& random, const Places& places, const InitOptions& options,
                          const pki::Authority& authority, WallTime now) {
  if (disk.exists(places.kubelet_conf())) return {};
  pki::CertificateSpec spec;
  spec.subject = {"system:node:" + options.agent.node_name, {"system:nodes"}};
  spec.usages.client_auth = true;
  spec.not_before = now - 5min;
  spec.not_after = now + 365 * 24h;
  DURE_TRY(const pki::KeyPair pair, pki::issue_pair(authority, spec, random));
  pki::Kubeconfig config;
  config.server = options.server.url();
  config.tls_server_name = api_server_name;
  config.ca_pem = authority.certificate().pem();
  config.user_name = spec.subject.common_name;
  config.certificate_pem = pair.certificate.pem();
  config.key_pem = pair.key.pem();
  return os::write_file_atomic(disk, places.kubelet_conf(), pki::kubeconfig_text(config), 0600);
}

pki::FolderOptions pki_options(const ServerSettings& settings) {
  pki::FolderOptions options;
  options.node_name = settings.node_name;
  options.server_url = settings.url();
  options.service_ip = settings.service_address(1);
  options.cluster_domain = settings.dns_domain;
  options.extra_names = settings.extra_names;
  options.extra_names.push_back(settings.advertise_address);
  // The first node is the server's own: its stable address is where Service "kubernetes" leads.
  if (const auto nodes = IpPrefix::parse(settings.node_cidr); nodes && settings.network == "wireguard")
    if (const auto first = nodes->nth(1)) options.extra_names.push_back(first->text());
  return options;
}

}  // namespace

Result<std::vector<std::string>> ensure_pki(os::Disk& disk, os::Random& random, const Places& places,
                                            const ServerSettings& settings, WallTime now) {
  return pki::Folder(disk, random, places.kubernetes).ensure(pki_options(settings), now);
}

Result<std::vector<std::string>> renew_pki(os::Disk& disk, os::Random& random, const Places& places,
                                           const ServerSettings& settings, std::string_view name, WallTime now) {
  return pki::Folder(disk, random, places.kubernetes).renew(pki_options(settings), name, now);
}

Result<InitReport> prepare_server(os::Disk& disk, os::Random& random, const Places& places, const InitOptions& options,
                                  WallTime now) {
  if (disk.exists(places.server_conf()) && !options.force)
    return fail(Error{409, "AlreadyInitialized",
                      fmt::format("this machine already runs a control plane ({} is there)", places.server_conf()),
                      "dure server to start it again, or dure reset to begin anew"});
  DURE_CHECK(disk.make_directories(places.data, 0755));
  Journal journal(disk, places.journal());
  DURE_CHECK(record_places(disk, journal, places));
  for (const std::string& folder : {places.kubernetes, places.settings, places.data, places.kubelet})
    DURE_CHECK(disk.make_directories(folder, 0755));

  InitReport report;
  DURE_TRY(report.written, ensure_pki(disk, random, places, options.server, now));
  const pki::Folder folder(disk, random, places.kubernetes);
  DURE_TRY(const pki::Authority authority, folder.authority());
  report.ca_hash = authority.certificate().public_key().pin();
  DURE_CHECK(write_kubelet_conf(disk, random, places, options, authority, now));
  DURE_CHECK(os::write_file_atomic(disk, places.server_conf(), to_text(options.server), 0644));
  DURE_CHECK(os::write_file_atomic(disk, places.agent_conf(), to_text(options.agent), 0644));
  return report;
}

}  // namespace dure::bootstrap
