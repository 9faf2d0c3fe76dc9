#include "bootstrap/node_identity.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>

#include <fmt/format.h>

#include "base/text.h"
#include "bootstrap/discovery.h"
#include "bootstrap/fingerprint.h"
#include "client/kubeconfig.h"
#include "kinds/views/certificates_v1.h"
#include "kinds/views/coordination_v1.h"
#include "os/disk.h"
#include "pki/certificate.h"
#include "pki/kubeconfig.h"
#include "pki/signing_request.h"

namespace dure::bootstrap {
namespace {

using kinds::certificates_v1::CertificateSigningRequest;
constexpr std::string_view kSigner = "kubernetes.io/kube-apiserver-client-kubelet";

// Waits on one CSR until it carries a certificate or a refusal.
class Verdict : public client::WatchSink {
 public:
  void on_event(client::WatchEvent event) override {
    if (event.kind == client::WatchEvent::Kind::bookmark) return;
    look(CertificateSigningRequest(event.object));
  }

  void on_end(Error why) override { answer(fail(std::move(why))); }

  void look(const CertificateSigningRequest& request) {
    if (!request.status().certificate().empty()) return answer(std::string(request.status().certificate()));
    for (const auto& condition : request.status().conditions())
      if (condition.type() == "Denied" || condition.type() == "Failed")
        answer(fail(Error{403, "Denied", fmt::format("the signing request was refused: {}", condition.message())}));
  }

  Result<std::string> wait(Duration timeout) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, timeout, [&] { return answer_.has_value(); }))
      return fail(Error{504, "NotSigned", "nobody signed this node's certificate in time",
                        "on the server: kubectl get csr, then kubectl certificate approve NAME"});
    return std::move(*answer_);
  }

 private:
  void answer(Result<std::string> result) {
    const std::lock_guard lock(mutex_);
    if (!answer_) answer_ = std::move(result);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Result<std::string>> answer_;
};

schema::Document request_document(const std::string& pem, const std::string& machine_proof) {
  schema::Document document(CertificateSigningRequest::type());
  CertificateSigningRequest request(document);
  request.mutable_metadata().set_generateName("csr-");
  if (!machine_proof.empty()) request.mutable_metadata().set_annotations(machine_proof_annotation, machine_proof);
  auto spec = request.mutable_spec();
  spec.set_request(base64_encode(pem));
  spec.set_signerName(kSigner);
  spec.add_usages("digital signature");
  spec.add_usages("client auth");
  return document;
}

Result<std::string> signed_certificate(client::Client& api, const std::string& request_pem,
                                       const IdentityRequest& request_facts) {
  auto created = api.create(kinds::certificates_v1::certificatesigningrequests,
                            request_document(request_pem, request_facts.machine_proof), "");
  if (!created) {
    if (created.error().is("Unauthorized"))
      return fail(Error{401, "TokenRefused", "the server does not know this node's token, or it has expired",
                        "on the server: dure token create --print-join-command"});
    return fail(std::move(created.error()).with_context("create the signing request"));
  }
  const CertificateSigningRequest request(*created);
  Verdict verdict;
  client::ListOptions only;
  only.field_selector = fmt::format("metadata.name={}", request.metadata().name());
  only.resource_version = std::string(request.metadata().resourceVersion());
  DURE_TRY(const auto watch, api.watch(kinds::certificates_v1::certificatesigningrequests, only, verdict));
  DURE_TRY(const std::string encoded, verdict.wait(request_facts.timeout));
  return base64_decode(encoded);
}

Error unreachable(const std::vector<std::pair<wire::Way, Error>>& failures) {
  std::string why;
  for (const auto& [way, error] : failures)
    why += (why.empty() ? "" : "; ") + fmt::format("no answer from {}: {}", way.text(), error.message);
  return Error{503, "ServerUnreachable", why.empty() ? "no address of a server is known" : why, {}};
}

// Does `work` with the first server that answers and for which it succeeds.
Status with_any_server(run::Loop& loop, const std::vector<wire::Way>& ways, const client::Credentials& credentials,
                       Duration patience, const std::function<Status(client::Client&, const wire::Way&)>& work) {
  const auto race =
      wire::DialRace::start(loop, client::tls_of(credentials), hello_question(), std::min<Duration>(patience, 10s));
  race->add(ways);
  Status done;
  bool answered = false;
  while (auto answer = race->next()) {
    answered = true;
    const auto api = client::connect_over(std::move(answer->http), credentials, {patience});
    done = work(*api, answer->way);
    if (done) return done;
  }
  return answered ? std::move(done) : fail(unreachable(race->failures()));
}

}  // namespace

Result<client::Credentials> read_identity(os::Disk& disk, const Places& places) {
  if (!disk.exists(places.kubelet_conf())) return fail(not_found("file", places.kubelet_conf()));
  DURE_TRY(const std::string text, os::read_file(disk, places.kubelet_conf()));
  DURE_TRY(client::Kubeconfig config, client::parse_kubeconfig(text, [&](std::string_view path) {
             return os::read_file(disk, std::string(path));
           }));
  return std::move(config.credentials);
}

std::vector<std::string> told_servers(os::Disk& disk, const Places& places) {
  std::vector<std::string> out;
  if (const auto kept = os::read_file(disk, places.servers()))
    for (const std::string_view line : split(*kept, '\n'))
      if (!trim(line).empty()) out.emplace_back(trim(line));
  return out;
}

wire::DialPlan known_ways(os::Disk& disk, const Places& places, const AgentSettings& settings) {
  wire::DialPlan out(settings.server_urls, settings.proxy, settings.no_proxy, 1);
  out.learn(told_servers(disk, places));
  return out;
}

Status take_leave(run::Loop& loop, os::Disk& disk, const Places& places, const AgentSettings& settings) {
  DURE_TRY(const client::Credentials identity, read_identity(disk, places));
  return with_any_server(loop, known_ways(disk, places, settings).ways(), identity, 2s,
                         [&](client::Client& api, const wire::Way&) {
                           return api.remove(kinds::coordination_v1::leases, {"kube-node-lease", settings.node_name});
                         });
}

bool renewal_due(const client::Credentials& credentials, WallTime now) {
  const auto certificate = pki::Certificate::from_pem(credentials.certificate_pem);
  if (!certificate) return true;
  const Duration life = certificate->not_after() - certificate->not_before();
  return certificate->not_after() - now < life / 5;
}

Result<client::Credentials> request_identity(run::Loop& loop, os::Disk& disk, const Places& places,
                                             const IdentityRequest& request) {
  DURE_TRY(const pki::PrivateKey key, pki::PrivateKey::generate());
  const pki::Subject subject{"system:node:" + request.node_name, {"system:nodes"}};
  DURE_TRY(const pki::SigningRequest signing, pki::SigningRequest::create(key, subject));
  pki::Kubeconfig config;
  DURE_CHECK(with_any_server(loop, request.ways, request.credentials, 30s,
                             [&](client::Client& api, const wire::Way& way) -> Status {
                               config.server = way.url;
                               DURE_TRY(config.certificate_pem, signed_certificate(api, signing.pem(), request));
                               return {};
                             }));
  config.tls_server_name = request.credentials.server_name;
  config.ca_pem = request.credentials.ca_pem;
  config.user_name = subject.common_name;
  config.key_pem = key.pem();
  DURE_CHECK(os::write_file_atomic(disk, places.kubelet_conf(), pki::kubeconfig_text(config), 0600));
  client::Credentials identity = request.credentials;
  identity.token.clear();
  identity.certificate_pem = config.certificate_pem;
  identity.key_pem = config.key_pem;
  return identity;
}

Result<pki::X25519Key> ensure_wireguard_key(os::Disk& disk, const Places& places) {
  const std::string path = places.wireguard_key();
  if (disk.exists(path)) {
    DURE_TRY(const std::string text, os::read_file(disk, path));
    if (auto key = pki::X25519Key::from_text(trim(text))) return key;
    return fail(Error{500, "WireguardKeyBroken", path + " holds no WireGuard key",
                      "rm " + path + " and start dure agent: the node gets a new key, its address stays"});
  }
  DURE_TRY(pki::X25519Key key, pki::X25519Key::generate());
  DURE_CHECK(os::write_file_atomic(disk, path, key.secret_text() + "\n", 0600));
  return key;
}

std::string public_wireguard_key(os::Disk& disk, const Places& places) {
  const auto text = os::read_file(disk, places.wireguard_key());
  const auto key = text ? pki::X25519Key::from_text(trim(*text)) : fail(text.error());
  return key ? key->public_text() : std::string();
}

int default_wireguard_port(os::Disk& disk, std::string_view node_name) {
  const auto id = os::read_file(disk, "/etc/machine-id");
  const std::string who = std::string(id ? trim(*id) : "") + "/" + std::string(node_name);
  return 51820 + static_cast<int>(fnv1a_64(who) % 1000);
}

}  // namespace dure::bootstrap
