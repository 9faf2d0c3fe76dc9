// Certificate and Authority: X.509 as a cluster needs it: self-signed CAs, server and client
// certificates, their inspection.
//
// Nobody here reads a clock: every moment comes in. Serial numbers come from the Random passed in.
// Copies share the parsed certificate. Thread: any.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "pki/key.h"

struct x509_st;
namespace dure::os {
class Random;
}

namespace dure::pki {

struct Subject {
  std::string common_name;
  std::vector<std::string> organizations;
  friend bool operator==(const Subject&, const Subject&) = default;
};

struct AlternativeNames {
  std::vector<std::string> dns_names;
  std::vector<std::string> ips;  // text: "10.96.0.1", "fd00::1"
  std::vector<std::string> emails = {}, uris = {};
  bool empty() const { return dns_names.empty() && ips.empty() && emails.empty() && uris.empty(); }
  // Each name to where it belongs: an address literal is an IP, all else a DNS name.
  void add(std::string_view name);
};

// What the bearer may do, as the key usage extensions say it.
struct Usages {
  bool server_auth = false, client_auth = false;
  bool digital_signature = true, key_encipherment = true;
};

struct CertificateSpec {
  Subject subject;
  AlternativeNames names = {};
  Usages usages = {};
  WallTime not_before, not_after;  // issue() never lets the end pass the authority's own
};

class Certificate {
 public:
  explicit Certificate(std::shared_ptr<x509_st> x509) : x509_(std::move(x509)) {}
  static Result<Certificate> from_pem(std::string_view pem);  // the first block
  static Result<Certificate> from_der(std::string_view der);

  std::string pem() const;
  std::string der() const;
  Subject subject() const;
  Subject issuer() const;
  AlternativeNames names() const;
  Usages usages() const;
  std::string serial() const;  // hex, lower case, no leading zeros
  WallTime not_before() const;
  WallTime not_after() const;
  bool is_authority() const;
  PublicKey public_key() const;
  // sha256 of the whole certificate, hex: names one certificate in revocation lists and logs.
  std::string fingerprint() const;
  // The signature chain to one of `roots` holds, `at` that moment. Usages are not looked at.
  Status verify(const std::vector<Certificate>& roots, WallTime at) const;
  x509_st* handle() const { return x509_.get(); }

 private:
  std::shared_ptr<x509_st> x509_;
};

class Authority {
 public:
  Authority(Certificate certificate, PrivateKey key) : certificate_(std::move(certificate)), key_(std::move(key)) {}
  // A self-signed certificate of `key`, or of a new key. kubeadm gives its CA the DNS name
  // "kubernetes" (the common name): so do we.
  static Result<Authority> create(std::string_view common_name, WallTime not_before, WallTime not_after,
                                  os::Random& random, std::optional<PrivateKey> key = {});
  // Refuses a key that is not the certificate's, and a certificate that may not sign.
  static Result<Authority> from_pem(std::string_view certificate_pem, std::string_view key_pem);

  const Certificate& certificate() const { return certificate_; }
  const PrivateKey& key() const { return key_; }
  Result<Certificate> issue(const CertificateSpec& spec, const PublicKey& key, os::Random& random) const;

 private:
  Certificate certificate_;
  PrivateKey key_;
};

struct KeyPair {
  Certificate certificate;
  PrivateKey key;
};
// A new key and a certificate for it.
Result<KeyPair> issue_pair(const Authority& authority, const CertificateSpec& spec, os::Random& random);

}  // namespace dure::pki
