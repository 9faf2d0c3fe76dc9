// Owning handles and error texts for OpenSSL; included by pki's sources only, never by a public
// header.
#pragma once

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace dure::pki {

template <auto Free>
struct Freed {
  void operator()(auto* thing) const { Free(thing); }
};

using BioHandle = std::unique_ptr<BIO, Freed<BIO_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using X509Handle = std::unique_ptr<X509, Freed<X509_free>>;
using RequestHandle = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using NameHandle = std::unique_ptr<X509_NAME, Freed<X509_NAME_free>>;
using ExtensionHandle = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using GeneralNamesHandle = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using SignatureHandle = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;
using NumberHandle = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using StoreHandle = std::unique_ptr<X509_STORE, Freed<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

// What OpenSSL has to say about its last failure; empties its queue.
Error openssl_error(std::string_view what);
// For a failure that is the input's fault: the reason is "InvalidCertificate".
Error unreadable(std::string_view what);

BioHandle reader(std::string_view bytes);
BioHandle writer();
std::string written(BIO* bio);
std::string octets(const ASN1_STRING* text);
WallTime wall_time(const ASN1_TIME* time);
std::string subject_public_key_der(EVP_PKEY* key);
// Never asks a person for a pass phrase: encrypted keys are refused.
int no_pass_phrase(char*, int, int, void*);

}  // namespace dure::pki
