#include "pki/certificate.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "os/clock.h"
#include "pki/names.h"
#include "pki/openssl.h"

namespace dure::pki {
namespace {

std::shared_ptr<X509> shared(X509* x509) { return {x509, X509_free}; }

bool add_extension(X509* certificate, X509V3_CTX* context, int nid, const char* value) {
  const ExtensionHandle extension(X509V3_EXT_conf_nid(nullptr, context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_time(ASN1_TIME* field, WallTime time) {
  return ASN1_TIME_set(field, static_cast<time_t>(time.seconds())) != nullptr;
}

// 63 random bits, never zero: as Go's certificate tools choose it.
bool set_serial(X509* certificate, os::Random& random) {
  const uint64_t value = (random.number() >> 1) | 1ull << 62;
  return ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), value) == 1;
}

std::string usage_text(const Usages& usages) {
  std::string text = "critical";
  if (usages.digital_signature) text += ",digitalSignature";
  if (usages.key_encipherment) text += ",keyEncipherment";
  return text;
}

std::string extended_text(const Usages& usages) {
  std::vector<std::string> parts;
  if (usages.server_auth) parts.emplace_back("serverAuth");
  if (usages.client_auth) parts.emplace_back("clientAuth");
  return join(parts, ",");
}

bool add_leaf_extensions(X509* leaf, X509* issuer, const CertificateSpec& spec) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, leaf, nullptr, nullptr, 0);
  const std::string extended = extended_text(spec.usages);
  const bool any_usage = spec.usages.digital_signature || spec.usages.key_encipherment;
  return (!any_usage || add_extension(leaf, &context, NID_key_usage, usage_text(spec.usages).c_str())) &&
         (extended.empty() || add_extension(leaf, &context, NID_ext_key_usage, extended.c_str())) &&
         add_extension(leaf, &context, NID_basic_constraints, "critical,CA:FALSE") &&
         add_extension(leaf, &context, NID_authority_key_identifier, "keyid");
}

bool add_authority_extensions(X509* certificate) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  return add_extension(certificate, &context, NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign") &&
         add_extension(certificate, &context, NID_basic_constraints, "critical,CA:TRUE") &&
         add_extension(certificate, &context, NID_subject_key_identifier, "hash");
}

struct Draft {
  const Subject& subject;
  const AlternativeNames& names;
  WallTime not_before, not_after;
  EVP_PKEY* key;
};

Result<X509Handle> start(const Draft& draft, os::Random& random) {
  X509Handle certificate(X509_new());
  DURE_TRY(const NameHandle subject, subject_name(draft.subject));
  X509* x = certificate.get();
  if (!x || X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x, random) ||
      !set_time(X509_getm_notBefore(x), draft.not_before) || !set_time(X509_getm_notAfter(x), draft.not_after) ||
      X509_set_subject_name(x, subject.get()) != 1 || X509_set_pubkey(x, draft.key) != 1)
    return fail(openssl_error("build certificate"));
  if (draft.names.empty()) return certificate;
  DURE_TRY(const GeneralNamesHandle names, general_names(draft.names));
  if (X509_add1_ext_i2d(x, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) != 1)
    return fail(openssl_error("add alternative names"));
  return certificate;
}

}  // namespace

void AlternativeNames::add(std::string_view name) {
  const std::string text(name);
  std::array<unsigned char, 16> bytes;
  const bool address =
      inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
  std::vector<std::string>& list = address ? ips : dns_names;
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  const BioHandle bio = reader(pem);
  X509* x509 = PEM_read_bio_X509(bio.get(), nullptr, no_pass_phrase, nullptr);
  if (x509 == nullptr) return fail(unreadable("not a PEM certificate"));
  return Certificate(shared(x509));
}

Result<Certificate> Certificate::from_der(std::string_view der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* end = at + der.size();
  X509* x509 = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
  if (x509 == nullptr) return fail(unreadable("not a DER certificate"));
  Certificate certificate(shared(x509));
  if (at != end) return fail(unreadable("bytes after the certificate"));
  return certificate;
}

std::string Certificate::pem() const {
  const BioHandle bio = writer();
  PEM_write_bio_X509(bio.get(), x509_.get());
  return written(bio.get());
}

std::string Certificate::der() const {
  unsigned char* der = nullptr;
  const int size = i2d_X509(x509_.get(), &der);
  if (size <= 0) return {};
  std::string bytes(reinterpret_cast<const char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

Subject Certificate::subject() const { return read_subject(X509_get_subject_name(x509_.get())); }
Subject Certificate::issuer() const { return read_subject(X509_get_issuer_name(x509_.get())); }

AlternativeNames Certificate::names() const {
  const GeneralNamesHandle names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x509_.get(), NID_subject_alt_name, nullptr, nullptr)));
  return names ? read_general_names(names.get()) : AlternativeNames{};
}

Usages Certificate::usages() const {
  // Reading the flags makes OpenSSL parse and cache the extensions first.
  const uint32_t extension_flags = X509_get_extension_flags(x509_.get());
  const uint32_t extended = X509_get_extended_key_usage(x509_.get());
  const uint32_t usage = X509_get_key_usage(x509_.get());
  const bool any = (extension_flags & EXFLAG_XKUSAGE) == 0 || (extended & XKU_ANYEKU) != 0;
  return {.server_auth = any || (extended & XKU_SSL_SERVER) != 0,
          .client_auth = any || (extended & XKU_SSL_CLIENT) != 0,
          .digital_signature = (usage & KU_DIGITAL_SIGNATURE) != 0,
          .key_encipherment = (usage & KU_KEY_ENCIPHERMENT) != 0};
}

std::string Certificate::serial() const {
  const NumberHandle number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509_.get()), nullptr));
  if (!number) return {};
  char* text = BN_bn2hex(number.get());
  std::string hex = text ? lower(text) : std::string();
  OPENSSL_free(text);
  const size_t start = hex.find_first_not_of('0');
  return start == std::string::npos ? "0" : hex.substr(start);
}

WallTime Certificate::not_before() const { return wall_time(X509_get0_notBefore(x509_.get())); }
WallTime Certificate::not_after() const { return wall_time(X509_get0_notAfter(x509_.get())); }
bool Certificate::is_authority() const { return X509_check_ca(x509_.get()) == 1; }

PublicKey Certificate::public_key() const {
  return PublicKey(std::shared_ptr<EVP_PKEY>(X509_get_pubkey(x509_.get()), EVP_PKEY_free));
}

std::string Certificate::fingerprint() const { return hex_encode(sha256(der())); }

Status Certificate::verify(const std::vector<Certificate>& roots, WallTime at) const {
  const StoreHandle store(X509_STORE_new());
  for (const Certificate& root : roots) X509_STORE_add_cert(store.get(), root.handle());
  const StoreContext context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), store.get(), x509_.get(), nullptr) != 1)
    return fail(openssl_error("verify certificate"));
  X509_STORE_CTX_set_time(context.get(), 0, static_cast<time_t>(at.seconds()));
  if (X509_verify_cert(context.get()) == 1) return {};
  const int why = X509_STORE_CTX_get_error(context.get());
  return fail(unreadable(X509_verify_cert_error_string(why)));
}

Result<Authority> Authority::create(std::string_view common_name, WallTime not_before, WallTime not_after,
                                    os::Random& random, std::optional<PrivateKey> given) {
  DURE_TRY(PrivateKey key, given ? Result<PrivateKey>(*given) : PrivateKey::generate());
  const Subject subject{.common_name = std::string(common_name)};
  AlternativeNames names;
  names.dns_names.emplace_back(common_name);
  const Draft draft{subject, names, not_before, not_after, key.handle()};
  DURE_TRY(X509Handle certificate, start(draft, random));
  X509* x = certificate.get();
  if (X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 || !add_authority_extensions(x) ||
      X509_sign(x, key.handle(), EVP_sha256()) <= 0)
    return fail(openssl_error("sign certificate authority"));
  return Authority(Certificate(shared(certificate.release())), std::move(key));
}

Result<Authority> Authority::from_pem(std::string_view certificate_pem, std::string_view key_pem) {
  DURE_TRY(Certificate certificate, Certificate::from_pem(certificate_pem));
  DURE_TRY(PrivateKey key, PrivateKey::from_pem(key_pem));
  if (!(certificate.public_key() == key.public_key()))
    return fail(unreadable("the key is not the one of the certificate"));
  if (!certificate.is_authority()) return fail(unreadable("the certificate is not a certificate authority's"));
  return Authority(std::move(certificate), std::move(key));
}

Result<Certificate> Authority::issue(const CertificateSpec& spec, const PublicKey& key, os::Random& random) const {
  const WallTime end = std::min(spec.not_after, certificate_.not_after());
  if (end <= spec.not_before) return fail(unreadable("the certificate would end before it begins"));
  X509* issuer = certificate_.handle();
  const Draft draft{spec.subject, spec.names, spec.not_before, end, key.handle()};
  DURE_TRY(X509Handle certificate, start(draft, random));
  X509* x = certificate.get();
  if (X509_set_issuer_name(x, X509_get_subject_name(issuer)) != 1 || !add_leaf_extensions(x, issuer, spec) ||
      X509_sign(x, key_.handle(), EVP_sha256()) <= 0)
    return fail(openssl_error("sign certificate"));
  return Certificate(shared(certificate.release()));
}

Result<KeyPair> issue_pair(const Authority& authority, const CertificateSpec& spec, os::Random& random) {
  DURE_TRY(PrivateKey key, PrivateKey::generate());
  DURE_TRY(Certificate certificate, authority.issue(spec, key.public_key(), random));
  return KeyPair{std::move(certificate), std::move(key)};
}

}  // namespace dure::pki
