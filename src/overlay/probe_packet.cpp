#include "overlay/probe_packet.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstring>

namespace dure::overlay {
namespace {

constexpr std::string_view key_label = "dure probe 1";
constexpr uint8_t punch_flag = 1, pass_on_flag = 2;
constexpr size_t tagged_body_max = 32;

void put64(char* to, uint64_t value) {
  for (int i = 7; i >= 0; --i, value >>= 8) to[i] = static_cast<char>(value);
}
uint64_t get64(std::string_view bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

size_t tag_at(ProbeType type) { return type == ProbeType::pong ? 52 : 32; }
size_t least_bytes(ProbeType type) {
  return type == ProbeType::ping ? ping_bytes : type == ProbeType::pong ? pong_bytes : data_head_bytes;
}

std::array<char, 32> digest(std::string_view first, std::string_view second) {
  std::array<char, 32> out{};
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  EVP_DigestUpdate(context, first.data(), first.size());
  EVP_DigestUpdate(context, second.data(), second.size());
  EVP_DigestFinal_ex(context, reinterpret_cast<unsigned char*>(out.data()), nullptr);
  EVP_MD_CTX_free(context);
  return out;
}

void write_head(const Probe& probe, char* out) {
  std::memcpy(out, probe_magic.data(), 4);
  out[4] = static_cast<char>(probe.type);
  out[5] = static_cast<char>((probe.punch ? punch_flag : 0) | (probe.pass_on ? pass_on_flag : 0));
  out[6] = out[7] = 0;
  put64(out + 8, probe.from);
  put64(out + 16, probe.to);
  put64(out + 24, probe.type == ProbeType::data ? probe.other : probe.transaction);
}

std::optional<os::Endpoint> read_observed(std::string_view bytes) {
  const char family = bytes[50];
  if (family != 4 && family != 6) return std::nullopt;
  const auto port = static_cast<uint16_t>(static_cast<uint8_t>(bytes[48]) << 8 | static_cast<uint8_t>(bytes[49]));
  if (port == 0) return std::nullopt;
  return os::Endpoint{Ip::from_raw(bytes.substr(32, family == 4 ? 4 : 16)), port};
}

}  // namespace

NodeId node_id_of(std::string_view public_key) {
  const auto hash = digest(public_key, {});
  const NodeId id = get64({hash.data(), hash.size()}, 0);
  return id == 0 ? 1 : id;
}

struct ProbeKey::State {
  EVP_MAC_CTX* context = nullptr;
  ~State() { EVP_MAC_CTX_free(context); }
};

ProbeKey::ProbeKey(std::string_view shared_secret) : state_(std::make_unique<State>()) {
  auto key = digest(key_label, shared_secret);
  EVP_MAC* mac = EVP_MAC_fetch(nullptr, "BLAKE2SMAC", nullptr);
  DURE_ASSERT(mac != nullptr);
  state_->context = EVP_MAC_CTX_new(mac);
  EVP_MAC_free(mac);
  size_t size = sizeof(Tag);
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};
  DURE_ASSERT(EVP_MAC_init(state_->context, reinterpret_cast<const unsigned char*>(key.data()), key.size(), params) ==
              1);
  OPENSSL_cleanse(key.data(), key.size());
}

ProbeKey::~ProbeKey() = default;
ProbeKey::ProbeKey(ProbeKey&&) noexcept = default;
ProbeKey& ProbeKey::operator=(ProbeKey&&) noexcept = default;

ProbeKey::Tag ProbeKey::tag(std::string_view first, std::string_view second) const {
  Tag out{};
  size_t size = 0;
  // The key stays in the context; a new start takes it again.
  DURE_ASSERT(EVP_MAC_init(state_->context, nullptr, 0, nullptr) == 1);
  EVP_MAC_update(state_->context, reinterpret_cast<const unsigned char*>(first.data()), first.size());
  EVP_MAC_update(state_->context, reinterpret_cast<const unsigned char*>(second.data()), second.size());
  EVP_MAC_final(state_->context, reinterpret_cast<unsigned char*>(out.data()), &size, out.size());
  DURE_ASSERT(size == out.size());
  return out;
}

std::optional<Probe> read_probe(std::string_view bytes) {
  if (!is_probe(bytes) || bytes.size() < ping_bytes || bytes.size() > probe_bytes_max) return std::nullopt;
  const auto type = static_cast<uint8_t>(bytes[4]);
  if (type < 1 || type > 3) return std::nullopt;
  Probe probe{.type = static_cast<ProbeType>(type), .from = get64(bytes, 8), .to = get64(bytes, 16)};
  if (bytes.size() < least_bytes(probe.type) || probe.from == 0 || probe.from == probe.to) return std::nullopt;
  probe.punch = bytes[5] & punch_flag;
  probe.pass_on = bytes[5] & pass_on_flag;
  if (probe.type == ProbeType::data)
    probe.other = get64(bytes, 24);
  else
    probe.transaction = get64(bytes, 24);
  if (probe.type == ProbeType::pong) probe.observed = read_observed(bytes);
  if (probe.type != ProbeType::pong) probe.body = bytes.substr(48);
  return probe;
}

bool proven(std::string_view bytes, const Probe& probe, const ProbeKey& key) {
  const size_t at = tag_at(probe.type);
  const std::string_view body = probe.type == ProbeType::data ? probe.body.substr(0, tagged_body_max) : "";
  const ProbeKey::Tag tag = key.tag(bytes.substr(0, at), body);
  return CRYPTO_memcmp(tag.data(), bytes.data() + at, tag.size()) == 0;
}

std::string write_probe(const Probe& probe, const ProbeKey& key, size_t size) {
  std::string out(std::max(size, least_bytes(probe.type)), '\0');
  write_head(probe, out.data());
  if (probe.type == ProbeType::pong && probe.observed) {
    const std::string_view raw = probe.observed->ip.raw();
    std::memcpy(out.data() + 32, raw.data(), raw.size());
    out[48] = static_cast<char>(probe.observed->port >> 8);
    out[49] = static_cast<char>(probe.observed->port);
    out[50] = probe.observed->ip.v6 ? 6 : 4;
  }
  const size_t at = tag_at(probe.type);
  const ProbeKey::Tag tag = key.tag({out.data(), at});
  std::memcpy(out.data() + at, tag.data(), tag.size());
  return out;
}

std::array<char, data_head_bytes> write_data_head(const Probe& probe, const ProbeKey& key) {
  std::array<char, data_head_bytes> out{};
  write_head(probe, out.data());
  const ProbeKey::Tag tag = key.tag({out.data(), 32}, probe.body.substr(0, tagged_body_max));
  std::memcpy(out.data() + 32, tag.data(), tag.size());
  return out;
}

}  // namespace dure::overlay
