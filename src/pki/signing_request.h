// SigningRequest: a PKCS#10 request, as spec.request of a CertificateSigningRequest carries it.
#pragma once

#include <string>
#include <string_view>

#include "pki/certificate.h"
#include "pki/key.h"

namespace dure::pki {

class SigningRequest {
 public:
  static Result<SigningRequest> create(const PrivateKey& key, const Subject& subject,
                                       const AlternativeNames& names = {});
  // Refuses a request whose self-signature does not hold: who sends it has the key.
  static Result<SigningRequest> from_pem(std::string_view pem);

  std::string pem() const { return pem_; }
  const Subject& subject() const { return subject_; }
  const AlternativeNames& names() const { return names_; }
  const PublicKey& public_key() const { return key_; }

 private:
  SigningRequest(std::string pem, Subject subject, AlternativeNames names, PublicKey key)
      : pem_(std::move(pem)), subject_(std::move(subject)), names_(std::move(names)), key_(std::move(key)) {}
  std::string pem_;
  Subject subject_;
  AlternativeNames names_;
  PublicKey key_;
};

}  // namespace dure::pki
