#include "pki/signing_request.h"

#include "pki/names.h"
#include "pki/openssl.h"

namespace dure::pki {
namespace {

using Extensions = STACK_OF(X509_EXTENSION);
void free_extensions(Extensions* list) { sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free); }
using ExtensionsHandle = std::unique_ptr<Extensions, Freed<free_extensions>>;

Status add_names(X509_REQ* request, const AlternativeNames& names) {
  DURE_TRY(const GeneralNamesHandle general, general_names(names));
  const ExtensionHandle extension(X509V3_EXT_i2d(NID_subject_alt_name, 0, general.get()));
  const ExtensionsHandle list(sk_X509_EXTENSION_new_null());
  if (!extension || !list || sk_X509_EXTENSION_push(list.get(), X509_EXTENSION_dup(extension.get())) <= 0 ||
      X509_REQ_add_extensions(request, list.get()) != 1)
    return fail(openssl_error("alternative names of the request"));
  return {};
}

AlternativeNames read_names(X509_REQ* request) {
  const ExtensionsHandle list(X509_REQ_get_extensions(request));
  if (!list) return {};
  const GeneralNamesHandle names(
      static_cast<GENERAL_NAMES*>(X509V3_get_d2i(list.get(), NID_subject_alt_name, nullptr, nullptr)));
  return names ? read_general_names(names.get()) : AlternativeNames{};
}

}  // namespace

Result<SigningRequest> SigningRequest::create(const PrivateKey& key, const Subject& subject,
                                              const AlternativeNames& names) {
  const RequestHandle request(X509_REQ_new());
  DURE_TRY(const NameHandle name, subject_name(subject));
  X509_REQ* r = request.get();
  if (!r || X509_REQ_set_version(r, X509_REQ_VERSION_1) != 1 || X509_REQ_set_subject_name(r, name.get()) != 1 ||
      X509_REQ_set_pubkey(r, key.handle()) != 1)
    return fail(openssl_error("build signing request"));
  if (!names.empty()) DURE_CHECK(add_names(r, names));
  if (X509_REQ_sign(r, key.handle(), EVP_sha256()) <= 0) return fail(openssl_error("sign the request"));
  const BioHandle bio = writer();
  PEM_write_bio_X509_REQ(bio.get(), r);
  return SigningRequest(written(bio.get()), subject, names, key.public_key());
}

Result<SigningRequest> SigningRequest::from_pem(std::string_view pem) {
  const BioHandle bio = reader(pem);
  const RequestHandle request(PEM_read_bio_X509_REQ(bio.get(), nullptr, no_pass_phrase, nullptr));
  if (!request) return fail(unreadable("PEM block type must be CERTIFICATE REQUEST"));
  std::shared_ptr<EVP_PKEY> key(X509_REQ_get_pubkey(request.get()), EVP_PKEY_free);
  if (!key) return fail(unreadable("the request has no readable public key"));
  if (X509_REQ_verify(request.get(), key.get()) != 1)
    return fail(unreadable("the request is not signed by its own key"));
  return SigningRequest(std::string(pem), read_subject(X509_REQ_get_subject_name(request.get())),
                        read_names(request.get()), PublicKey(std::move(key)));
}

}  // namespace dure::pki
