#include "controllers/certificates.h"

#include <algorithm>
#include <memory>

#include "base/log.h"
#include "base/text.h"
#include "controllers/conditions.h"
#include "kinds/views/authorization_v1.h"
#include "kinds/views/certificates_v1.h"
#include "kinds/views/coordination_v1.h"

namespace dure::controllers {
namespace {

namespace certificates = kinds::certificates_v1;
namespace authorization = kinds::authorization_v1;
namespace coordination = kinds::coordination_v1;

constexpr std::string_view client_kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
constexpr std::string_view kubelet_serving = "kubernetes.io/kubelet-serving";
constexpr std::string_view api_client = "kubernetes.io/kube-apiserver-client";

constexpr Duration decided_age_max = 1h, pending_age_max = 24h;

using Csr = certificates::CertificateSigningRequest;

std::vector<std::string> texts(const schema::List<std::string_view>& list) { return {list.begin(), list.end()}; }

bool is_decided(const Csr& csr) {
  return is_condition_true(csr.status().node(), "Approved") || is_condition_true(csr.status().node(), "Denied");
}

Result<std::string> request_pem(const Csr& csr) { return base64_decode(csr.spec().request()); }

class Approver {
 public:
  Approver(Client& client, Caches& caches, ReadRequest read_request, MachineOfProof machine_of_proof)
      : client_(client),
        executor_(caches.executor()),
        requests_(caches.of(certificates::certificatesigningrequests)),
        nodes_(caches.of(core::nodes)),
        leases_(caches.of(coordination::leases)),
        read_request_(std::move(read_request)),
        machine_of_proof_(std::move(machine_of_proof)) {}

  Outcome reconcile(const Key& key) {
    const Object object = requests_.get(key);
    if (!object) return Outcome::done();
    const Csr csr(object);
    const std::string_view signer = csr.spec().signerName();
    if (is_decided(csr) || (signer != client_kubelet && signer != kubelet_serving)) return Outcome::done();
    auto pem = request_pem(csr);
    if (!pem) return Outcome::done();
    auto facts = read_request_(*pem);
    if (!facts) return Outcome::done();  // left to a person
    return signer == client_kubelet ? judge_client(object, *facts) : judge_serving(object, *facts);
  }

 private:
  Outcome judge_client(const Object& object, const RequestFacts& facts) {
    const Csr csr(object);
    if (!client_kubelet_problem(facts, texts(csr.spec().usages())).empty()) return Outcome::done();
    struct Row {
      const char* subresource;
      const char* message;
      bool applies;
    };
    const Row rows[] = {
        {"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.",
         facts.common_name == csr.spec().username()},
        {"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.", true},
    };
    for (const Row& row : rows) {
      if (!row.applies) continue;
      auto allowed = may(csr, row.subresource);
      if (!allowed) return Outcome::failed(std::move(allowed).error());
      if (!*allowed) continue;
      if (const std::string problem = stolen_name(object, facts); !problem.empty()) return deny(object, problem);
      return approve(object, row.message);
    }
    return Outcome::done();
  }

  // Somebody with no more than a token may take a name that nobody has, and its own.
  std::string stolen_name(const Object& object, const RequestFacts& facts) {
    const Csr csr(object);
    const auto groups = texts(csr.spec().groups());
    if (std::ranges::find(groups, "system:bootstrappers") == groups.end()) return {};
    NameClaim claim;
    claim.node = facts.common_name.substr(std::string_view("system:node:").size());
    const Object node = nodes_.get({{}, claim.node});
    claim.node_exists = node != nullptr;
    if (!node) return {};
    claim.known_machine = machine_of(core::Node(node).metadata().annotations().get("dure.dev/machine"));
    const std::string_view proof = csr.metadata().annotations().get("dure.dev/machine-proof");
    if (machine_of_proof_ && !proof.empty()) claim.claimed_machine = machine_of_proof_(proof);
    claim.silent_for = silence_of(claim.node);
    return node_name_problem(claim);
  }

  // A node that was reset took its Lease with it.
  Duration silence_of(const std::string& name) {
    const Object lease = leases_.get({"kube-node-lease", name});
    const auto renewed = lease ? parse_time(coordination::Lease(lease).spec().renewTime()) : std::nullopt;
    return renewed ? executor_.wall_now() - *renewed : node_alive_for;
  }

  static std::string machine_of(std::string_view annotation) {
    for (const std::string_view word : split(annotation, ' '))
      if (word.starts_with("id=")) return std::string(word.substr(3));
    return {};
  }

  Outcome deny(const Object& object, const std::string& why) {
    log(LogLevel::warn, "csr-approver", "denied a node's name",
        {{"csr", std::string(client::name_of(object))},
         {"requestor", std::string(Csr(object).spec().username())},
         {"why", why}});
    Document next = object->clone();
    set_condition(next, next.member(next.root(), "status"), {"Denied", "True", "NodeNameTaken", why},
                  executor_.wall_now(), SecondTime::last_update);
    return outcome_of(client_.update(certificates::certificatesigningrequests, next, "approval"));
  }

  Result<bool> may(const Csr& csr, const char* subresource) {
    Document review(*authorization::subjectaccessreviews.type);
    review.set(review.member(review.root(), "apiVersion"), "authorization.k8s.io/v1");
    review.set(review.member(review.root(), "kind"), "SubjectAccessReview");
    auto spec = authorization::SubjectAccessReview(review).mutable_spec();
    spec.set_user(csr.spec().username());
    spec.set_uid(csr.spec().uid());
    for (const std::string_view group : csr.spec().groups()) spec.add_groups(group);
    auto attributes = spec.mutable_resourceAttributes();
    attributes.set_group("certificates.k8s.io");
    attributes.set_resource("certificatesigningrequests");
    attributes.set_verb("create");
    attributes.set_subresource(subresource);
    attributes.set_version("*");
    DURE_TRY(Object answer, client_.create(authorization::subjectaccessreviews, review, {}));
    return authorization::SubjectAccessReview(answer).status().allowed();
  }

  // A node may have a serving certificate for what its Node object says it is.
  Outcome judge_serving(const Object& object, const RequestFacts& facts) {
    const Csr csr(object);
    const std::string_view username = csr.spec().username();
    if (!kubelet_serving_problem(facts, texts(csr.spec().usages()), username, texts(csr.spec().groups())).empty())
      return Outcome::done();
    const Object node = nodes_.get({{}, std::string(username.substr(std::string_view("system:node:").size()))});
    if (!node) return Outcome::done();
    std::vector<std::string> known{std::string(client::name_of(node))};
    for (const core::NodeAddress address : core::Node(node).status().addresses()) known.emplace_back(address.address());
    const auto is_known = [&](const std::string& name) {
      return std::find(known.begin(), known.end(), name) != known.end();
    };
    if (!std::all_of(facts.dns_names.begin(), facts.dns_names.end(), is_known) ||
        !std::all_of(facts.ip_addresses.begin(), facts.ip_addresses.end(), is_known))
      return Outcome::done();
    return approve(object, "Auto approving kubelet serving certificate of a known node.");
  }

  Outcome approve(const Object& object, const char* message) {
    Document next = object->clone();
    set_condition(next, next.member(next.root(), "status"), {"Approved", "True", "AutoApproved", message},
                  executor_.wall_now(), SecondTime::last_update);
    return outcome_of(client_.update(certificates::certificatesigningrequests, next, "approval"));
  }

  Client& client_;
  run::Executor& executor_;
  Cache& requests_;
  Cache& nodes_;
  Cache& leases_;
  ReadRequest read_request_;
  MachineOfProof machine_of_proof_;
};

class Signer {
 public:
  Signer(Client& client, Caches& caches, ReadRequest read_request, Sign sign)
      : client_(client),
        executor_(caches.executor()),
        requests_(caches.of(certificates::certificatesigningrequests)),
        read_request_(std::move(read_request)),
        sign_(std::move(sign)) {}

  Outcome reconcile(const Key& key) {
    const Object object = requests_.get(key);
    if (!object) return Outcome::done();
    const Csr csr(object);
    const bool is_ours = csr.spec().signerName() == client_kubelet || csr.spec().signerName() == kubelet_serving ||
                         csr.spec().signerName() == api_client;
    const Node* status = csr.status().node();
    if (!is_ours || !is_condition_true(status, "Approved") || is_condition_true(status, "Denied") ||
        is_condition_true(status, "Failed") || !csr.status().certificate().empty())
      return Outcome::done();
    auto pem = request_pem(csr);
    if (!pem) return refuse(object, pem.error().message);
    auto facts = read_request_(*pem);
    if (!facts) return refuse(object, facts.error().message);
    if (const std::string problem = problem_of(csr, *facts); !problem.empty()) return refuse(object, problem);
    SigningOrder order{*pem, std::string(csr.spec().signerName()), texts(csr.spec().usages()), {}};
    if (csr.spec().has_expirationSeconds()) order.expiration_seconds = csr.spec().expirationSeconds();
    auto certificate = sign_(order);
    if (!certificate) return Outcome::failed(std::move(certificate).error());
    Document next = object->clone();
    Csr(next).mutable_status().set_certificate(base64_encode(*certificate));
    return outcome_of(client_.update(certificates::certificatesigningrequests, next, "status"));
  }

 private:
  static std::string problem_of(const Csr& csr, const RequestFacts& facts) {
    const auto usages = texts(csr.spec().usages());
    if (csr.spec().signerName() == client_kubelet) return client_kubelet_problem(facts, usages);
    if (csr.spec().signerName() == api_client) return api_client_problem(usages);
    return kubelet_serving_problem(facts, usages, csr.spec().username(), texts(csr.spec().groups()));
  }

  Outcome refuse(const Object& object, const std::string& why) {
    Document next = object->clone();
    set_condition(next, next.member(next.root(), "status"), {"Failed", "True", "SignerValidationFailure", why},
                  executor_.wall_now(), SecondTime::last_update);
    return outcome_of(client_.update(certificates::certificatesigningrequests, next, "status"));
  }

  Client& client_;
  run::Executor& executor_;
  Cache& requests_;
  ReadRequest read_request_;
  Sign sign_;
};

}  // namespace

LoopSpec certificate_approver(Client& client, Caches& caches, ReadRequest read_request,
                              MachineOfProof machine_of_proof) {
  auto approver = std::make_shared<Approver>(client, caches, std::move(read_request), std::move(machine_of_proof));
  Cache& requests = caches.of(certificates::certificatesigningrequests);
  LoopSpec spec;
  spec.name = "csr-approver";
  spec.watches = {{&certificates::certificatesigningrequests, client::own_key(), {}},
                  // A serving request may come before the node's addresses do.
                  {&core::nodes,
                   [&requests](const Object&, const Enqueue& enqueue) {
                     for (const Object& request : requests.list())
                       if (!is_decided(Csr(request))) enqueue(client::key_of(request));
                   },
                   {}},
                  {&coordination::leases, nullptr, {}}};
  spec.owns = {"approval of certificates.k8s.io/v1 CertificateSigningRequest"};
  spec.reconcile = [approver](const Key& key) { return approver->reconcile(key); };
  return spec;
}

LoopSpec certificate_signer(Client& client, Caches& caches, ReadRequest read_request, Sign sign) {
  auto signer = std::make_shared<Signer>(client, caches, std::move(read_request), std::move(sign));
  LoopSpec spec;
  spec.name = "csr-signer";
  spec.watches = {{&certificates::certificatesigningrequests, client::own_key(), {}}};
  spec.owns = {"status.certificate of certificates.k8s.io/v1 CertificateSigningRequest"};
  spec.reconcile = [signer](const Key& key) { return signer->reconcile(key); };
  return spec;
}

LoopSpec certificate_sweeper(Client& client, Caches& caches) {
  Cache& requests = caches.of(certificates::certificatesigningrequests);
  run::Executor& executor = caches.executor();
  LoopSpec spec;
  spec.name = "csr-sweeper";
  spec.watches = {{&certificates::certificatesigningrequests, client::own_key(), {}}};
  spec.owns = {"deletion of certificates.k8s.io/v1 CertificateSigningRequest"};
  spec.reconcile = [&client, &requests, &executor](const Key& key) {
    const Object object = requests.get(key);
    if (!object) return Outcome::done();
    auto since = parse_time(client::meta_string(object, "creationTimestamp"));
    Duration keep = pending_age_max;
    for (const std::string_view type : {"Approved", "Denied", "Failed"})
      if (const auto condition = find_condition(Csr(object).status().node(), type)) {
        keep = decided_age_max;
        if (const auto updated = parse_time(condition->last_update)) since = updated;
      }
    if (!since) return Outcome::done();
    const Duration left = *since + keep - executor.wall_now();
    if (left > Duration::zero()) return Outcome::after(left);
    return outcome_of(client.remove(certificates::certificatesigningrequests, key));
  };
  return spec;
}

}  // namespace dure::controllers
