// Whatever bytes come: tokens, certificates, requests and keys are read or refused, nothing else.
#include <cstddef>
#include <cstdint>

#include "pki/bootstrap_token.h"
#include "pki/certificate.h"
#include "pki/claims_json.h"
#include "pki/kubeconfig.h"
#include "pki/service_account_token.h"
#include "pki/signing_request.h"

using namespace dure;
using namespace dure::pki;

namespace {

const TokenVerifier& verifier() {
  static const TokenVerifier made({PrivateKey::generate()->public_key()}, {"https://issuer"});
  return made;
}

void read_certificate(std::string_view bytes) {
  auto certificate = Certificate::from_der(bytes);
  if (!certificate) certificate = Certificate::from_pem(bytes);
  if (!certificate) return;
  (void)certificate->subject();
  (void)certificate->names();
  (void)certificate->usages();
  (void)certificate->serial();
  (void)certificate->not_after();
  (void)certificate->is_authority();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.empty()) return 0;
  const std::string_view rest = bytes.substr(1);
  switch (bytes[0] % 6) {
    case 0:
      (void)verifier().verify(rest, {0});
      break;
    case 1:
      read_certificate(rest);
      break;
    case 2:
      (void)SigningRequest::from_pem(rest);
      break;
    case 3:
      (void)PrivateKey::from_pem(rest);
      break;
    case 4:
      if (auto json = parse_json(rest)) (void)json->text("sub");
      break;
    default:
      (void)parse_bootstrap_token(rest);
      (void)embedded_certificate(rest);
  }
  return 0;
}
