#include "pki/openssl.h"

#include <ctime>

namespace dure::pki {

Error openssl_error(std::string_view what) {
  std::string why(what);
  while (const unsigned long code = ERR_get_error()) {
    if (const char* reason = ERR_reason_error_string(code)) why.append(": ").append(reason);
  }
  return internal(why);
}

Error unreadable(std::string_view what) {
  ERR_clear_error();
  return Error{.code = 400, .reason = "InvalidCertificate", .message = std::string(what)};
}

BioHandle reader(std::string_view bytes) {
  return BioHandle(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

BioHandle writer() { return BioHandle(BIO_new(BIO_s_mem())); }

std::string written(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

std::string octets(const ASN1_STRING* text) {
  if (text == nullptr) return {};
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

WallTime wall_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return {};
  const int64_t seconds = timegm(&parts);
  // Years past 2262 do not fit nanoseconds; "never expires" is as good.
  constexpr int64_t seconds_max = INT64_MAX / 1'000'000'000;
  if (seconds >= seconds_max) return {INT64_MAX};
  if (seconds <= -seconds_max) return {INT64_MIN};
  return {seconds * 1'000'000'000};
}

std::string subject_public_key_der(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return {};
  std::string bytes(reinterpret_cast<const char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

int no_pass_phrase(char*, int, int, void*) { return -1; }

}  // namespace dure::pki
