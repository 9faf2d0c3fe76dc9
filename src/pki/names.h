// Subjects and alternative names to and from OpenSSL's structures; for pki's sources only.
#pragma once

#include "pki/certificate.h"
#include "pki/openssl.h"

namespace dure::pki {

Result<NameHandle> subject_name(const Subject& subject);
Subject read_subject(const X509_NAME* name);
Result<GeneralNamesHandle> general_names(const AlternativeNames& names);
AlternativeNames read_general_names(const GENERAL_NAMES* names);

}  // namespace dure::pki
