// Certificates for this room's tests, benchmarks and nobody else; the house's own come from pki.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace dure::wire {

class TestAuthority {
 public:
  explicit TestAuthority(const char* name = "test authority") {
    key_ = EVP_EC_gen("P-256");
    certificate_ = make(key_, name, nullptr, true);
  }
  ~TestAuthority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  TestAuthority(const TestAuthority&) = delete;

  std::string ca_pem() const { return text(certificate_); }
  struct Pair {
    std::string certificate_pem, key_pem;
  };
  // `names`: subjectAltName, e.g. "DNS:localhost,IP:127.0.0.1".
  Pair issue(const char* common_name, const char* names) const {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = make(key, common_name, names, false);
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    Pair pair{text(certificate), drain(bio)};
    X509_free(certificate);
    EVP_PKEY_free(key);
    return pair;
  }

 private:
  X509* make(EVP_PKEY* key, const char* common_name, const char* names, bool authority) const {
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    static long serial = 1;
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name), -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(authority ? certificate : certificate_));
    extend(certificate, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (names) extend(certificate, NID_subject_alt_name, names);
    X509_sign(certificate, key_, EVP_sha256());
    return certificate;
  }
  static void extend(X509* certificate, int id, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, id, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  static std::string text(X509* certificate) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate);
    return drain(bio);
  }
  static std::string drain(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string out(data, size_t(size));
    BIO_free(bio);
    return out;
  }
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
};

}  // namespace dure::wire
