#include "pki/names.h"

#include <arpa/inet.h>

#include <array>

namespace dure::pki {
namespace {

bool add_entry(X509_NAME* name, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

// Entries may be stored as Latin-1 or 16-bit text: names are compared as UTF-8.
std::string entry_text(const X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (size < 0) return {};
  std::string text(reinterpret_cast<char*>(utf8), static_cast<size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

std::string address_text(const ASN1_OCTET_STRING* address) {
  const int size = ASN1_STRING_length(address);
  if (size != 4 && size != 16) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text.data(), text.size());
  return text.data();
}

bool push_text(GENERAL_NAMES* names, int type, const std::string& value) {
  ASN1_IA5STRING* text = ASN1_IA5STRING_new();
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (!text || !name) return false;
  ASN1_STRING_set(text, value.data(), static_cast<int>(value.size()));
  GENERAL_NAME_set0_value(name, type, text);  // takes the text
  return sk_GENERAL_NAME_push(names, name) > 0;
}

bool push_address(GENERAL_NAMES* names, const std::string& value) {
  ASN1_OCTET_STRING* address = a2i_IPADDRESS(value.c_str());
  if (address == nullptr) return false;
  GENERAL_NAME* name = GENERAL_NAME_new();
  GENERAL_NAME_set0_value(name, GEN_IPADD, address);
  return sk_GENERAL_NAME_push(names, name) > 0;
}

}  // namespace

Result<NameHandle> subject_name(const Subject& subject) {
  NameHandle name(X509_NAME_new());
  for (const std::string& organization : subject.organizations)
    if (!add_entry(name.get(), "O", organization)) return fail(openssl_error("organization \"" + organization + "\""));
  if (!subject.common_name.empty() && !add_entry(name.get(), "CN", subject.common_name))
    return fail(openssl_error("common name \"" + subject.common_name + "\""));
  return name;
}

Subject read_subject(const X509_NAME* name) {
  Subject subject;
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(name, i);
    const int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (nid == NID_commonName) subject.common_name = entry_text(entry);  // the last one counts
    if (nid == NID_organizationName) subject.organizations.push_back(entry_text(entry));
  }
  return subject;
}

Result<GeneralNamesHandle> general_names(const AlternativeNames& names) {
  GeneralNamesHandle list(GENERAL_NAMES_new());
  bool good = true;
  for (const std::string& dns : names.dns_names) good = good && push_text(list.get(), GEN_DNS, dns);
  for (const std::string& mail : names.emails) good = good && push_text(list.get(), GEN_EMAIL, mail);
  for (const std::string& uri : names.uris) good = good && push_text(list.get(), GEN_URI, uri);
  for (const std::string& ip : names.ips)
    if (!push_address(list.get(), ip)) return fail(unreadable("not an IP address: " + ip));
  if (!good) return fail(openssl_error("alternative names"));
  return list;
}

AlternativeNames read_general_names(const GENERAL_NAMES* names) {
  AlternativeNames out;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    int type = 0;
    const auto* value =
        static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type));
    if (type == GEN_DNS) out.dns_names.push_back(octets(value));
    if (type == GEN_EMAIL) out.emails.push_back(octets(value));
    if (type == GEN_URI) out.uris.push_back(octets(value));
    if (type == GEN_IPADD) out.ips.push_back(address_text(value));
  }
  return out;
}

}  // namespace dure::pki
