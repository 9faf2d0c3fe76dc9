// Certificate signing requests of nodes: approving, signing, and sweeping up.
//
// Keys and ASN.1 are not this room's: the wiring passes in how a request is read and how it is signed (pki does both).
#pragma once

#include "controllers/api.h"

namespace dure::controllers {

// What a PKCS #10 request asks for.
struct RequestFacts {
  std::string common_name;
  std::vector<std::string> organizations, dns_names, ip_addresses, email_addresses, uris;
};
using ReadRequest = std::function<Result<RequestFacts>(std::string_view request_pem)>;

struct SigningOrder {
  std::string request_pem, signer_name;
  std::vector<std::string> usages;            // as CSR spec.usages: "digital signature", "client auth", ...
  std::optional<int64_t> expiration_seconds;  // wished; the signer has the last word
};
using Sign = std::function<Result<std::string>(const SigningOrder&)>;  // answers the certificate as PEM

// The machine that a proof (annotation dure.dev/machine-proof of a request) is of, as the "id" in the annotation
// dure.dev/machine of a Node names it.
using MachineOfProof = std::function<std::string(std::string_view proof)>;

// Approves kubernetes.io/kube-apiserver-client-kubelet when the requestor may ask for it (nodeclient or selfnodeclient,
// asked of the authorizer), and kubernetes.io/kubelet-serving when a node asks for its own name and addresses. Who only
// has a bootstrap token is denied the name of a node that is alive, or that is known as another machine.
LoopSpec certificate_approver(Client& client, Caches& caches, ReadRequest read_request,
                              MachineOfProof machine_of_proof = {});
// Signs what is approved, for the signers of kube-controller-manager; what breaks a signer's rules gets the condition
// Failed.
LoopSpec certificate_signer(Client& client, Caches& caches, ReadRequest read_request, Sign sign);
// Deletes requests that nobody needs any more: decided for 1 h, pending for 24 h.
LoopSpec certificate_sweeper(Client& client, Caches& caches);

// Why a request does not fit its signer's rules; empty: it does. Pure.
std::string client_kubelet_problem(const RequestFacts& facts, const std::vector<std::string>& usages);
std::string kubelet_serving_problem(const RequestFacts& facts, const std::vector<std::string>& usages,
                                    std::string_view username, const std::vector<std::string>& groups);
// May a bootstrap token have the certificate of this node's name? Pure.
struct NameClaim {
  std::string node;
  bool node_exists = false;
  std::string known_machine, claimed_machine;  // empty: it never said
  Duration silent_for{};                       // since the node was last heard
};
inline constexpr Duration node_alive_for = 60s;
std::string node_name_problem(const NameClaim& claim);
std::string api_client_problem(const std::vector<std::string>& usages);

}  // namespace dure::controllers
