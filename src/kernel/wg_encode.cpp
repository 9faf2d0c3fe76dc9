#include "kernel/wg_encode.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>

#include <algorithm>

#include "base/text.h"

namespace dure::kernel {

using netlink::Attribute;
using netlink::Writer;

namespace {

constexpr uint16_t ask = NLM_F_REQUEST | NLM_F_ACK;

std::string_view raw(const WgKey& key) { return {reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()}; }

std::optional<WgKey> key_of(std::string_view bytes) {
  WgKey key;
  if (bytes.size() != key.bytes.size()) return std::nullopt;
  std::ranges::copy(bytes, key.bytes.begin());
  return key;
}

void begin(Writer& out, uint16_t family, uint16_t flags, uint8_t command, std::string_view device) {
  out.begin(family, flags);
  genlmsghdr header{};
  header.cmd = command;
  header.version = WG_GENL_VERSION;
  out.header(header);
  out.put_text(WGDEVICE_A_IFNAME, device);
}

std::string socket_address(const os::Endpoint& endpoint) {
  if (!endpoint.ip.v6) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(endpoint.port);
    std::memcpy(&out.sin_addr, endpoint.ip.raw().data(), sizeof out.sin_addr);
    return {reinterpret_cast<const char*>(&out), sizeof out};
  }
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(endpoint.port);
  std::memcpy(&out.sin6_addr, endpoint.ip.raw().data(), sizeof out.sin6_addr);
  return {reinterpret_cast<const char*>(&out), sizeof out};
}

std::optional<os::Endpoint> endpoint_of(std::string_view bytes) {
  sockaddr_in6 six{};
  std::memcpy(&six, bytes.data(), std::min(bytes.size(), sizeof six));
  if (six.sin6_family == AF_INET6 && bytes.size() >= sizeof six)
    return os::Endpoint{Ip::from_raw({reinterpret_cast<const char*>(&six.sin6_addr), 16}), ntohs(six.sin6_port)};
  sockaddr_in four{};
  if (six.sin6_family != AF_INET || bytes.size() < sizeof four) return std::nullopt;
  std::memcpy(&four, bytes.data(), sizeof four);
  return os::Endpoint{Ip::from_raw({reinterpret_cast<const char*>(&four.sin_addr), 4}), ntohs(four.sin_port)};
}

void encode_allowed(Writer& out, const std::vector<IpPrefix>& prefixes) {
  size_t list = out.nest(WGPEER_A_ALLOWEDIPS);
  for (const IpPrefix& prefix : prefixes) {
    size_t entry = out.nest(0);
    out.put_u16(WGALLOWEDIP_A_FAMILY, prefix.ip.v6 ? AF_INET6 : AF_INET);
    out.put(WGALLOWEDIP_A_IPADDR, prefix.network().ip.raw());
    out.put_u8(WGALLOWEDIP_A_CIDR_MASK, static_cast<uint8_t>(prefix.length));
    out.close(entry);
  }
  out.close(list);
}

uint32_t flags_of(WgPeerChange change) {
  switch (change) {
    case WgPeerChange::put:
      return WGPEER_F_REPLACE_ALLOWEDIPS;
    case WgPeerChange::endpoint_only:
      return WGPEER_F_UPDATE_ONLY;
    case WgPeerChange::remove:
      return WGPEER_F_REMOVE_ME;
  }
  return 0;
}

}  // namespace

void wg_encode_get(Writer& out, uint16_t family, std::string_view device) {
  begin(out, family, NLM_F_REQUEST | NLM_F_DUMP, WG_CMD_GET_DEVICE, device);
  out.end();
}

void wg_encode_configure(Writer& out, uint16_t family, std::string_view device, const WgKey& private_key,
                         uint16_t port) {
  begin(out, family, ask, WG_CMD_SET_DEVICE, device);
  out.put(WGDEVICE_A_PRIVATE_KEY, raw(private_key));
  out.put_u16(WGDEVICE_A_LISTEN_PORT, port);
  out.end();
}

void wg_encode_peer(Writer& out, uint16_t family, std::string_view device, const WgPeer& peer, WgPeerChange change) {
  begin(out, family, ask, WG_CMD_SET_DEVICE, device);
  size_t peers = out.nest(WGDEVICE_A_PEERS);
  size_t one = out.nest(0);
  out.put(WGPEER_A_PUBLIC_KEY, raw(peer.key));
  out.put_u32(WGPEER_A_FLAGS, flags_of(change));
  if (change != WgPeerChange::remove && peer.endpoint) out.put(WGPEER_A_ENDPOINT, socket_address(*peer.endpoint));
  if (change == WgPeerChange::put) {
    out.put_u16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer.keepalive_seconds);
    encode_allowed(out, peer.allowed_ips);
  }
  out.close(one);
  out.close(peers);
  out.end();
}

namespace {

std::optional<WallTime> handshake_of(std::string_view bytes) {
  int64_t seconds = 0, nanoseconds = 0;  // __kernel_timespec
  if (bytes.size() < 16) return std::nullopt;
  std::memcpy(&seconds, bytes.data(), 8);
  std::memcpy(&nanoseconds, bytes.data() + 8, 8);
  if (seconds <= 0 || seconds > 9'000'000'000) return std::nullopt;
  return WallTime{seconds * 1'000'000'000 + nanoseconds};
}

void decode_allowed(std::string_view list, std::vector<IpPrefix>& into) {
  for (const Attribute& entry : netlink::attributes(list)) {
    std::string_view bytes = netlink::find(entry.data, WGALLOWEDIP_A_IPADDR).data;
    if (bytes.size() != 4 && bytes.size() != 16) continue;
    int length = netlink::find(entry.data, WGALLOWEDIP_A_CIDR_MASK).u8();
    if (length > static_cast<int>(bytes.size()) * 8) continue;
    into.push_back({Ip::from_raw(bytes), length});
  }
}

uint64_t u64_of(std::string_view bytes) {
  uint64_t out = 0;
  if (bytes.size() >= sizeof out) std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}

void decode_peer(std::string_view attributes, WgDevice& into) {
  auto key = key_of(netlink::find(attributes, WGPEER_A_PUBLIC_KEY).data);
  if (!key) return;
  if (into.peers.empty() || into.peers.back().key != *key) {
    into.peers.emplace_back();
    into.peers.back().key = *key;
  }
  WgPeerState& peer = into.peers.back();
  for (const Attribute& a : netlink::attributes(attributes)) switch (a.type) {
      case WGPEER_A_ENDPOINT:
        peer.endpoint = endpoint_of(a.data);
        break;
      case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
        peer.keepalive_seconds = a.u16();
        break;
      case WGPEER_A_LAST_HANDSHAKE_TIME:
        peer.last_handshake = handshake_of(a.data);
        break;
      case WGPEER_A_RX_BYTES:
        peer.received_bytes = u64_of(a.data);
        break;
      case WGPEER_A_TX_BYTES:
        peer.sent_bytes = u64_of(a.data);
        break;
      case WGPEER_A_ALLOWEDIPS:
        decode_allowed(a.data, peer.allowed_ips);
        break;
      default:
        break;
    }
}

}  // namespace

void wg_decode(std::string_view attributes, WgDevice& into) {
  for (const Attribute& a : netlink::attributes(attributes)) switch (a.type) {
      case WGDEVICE_A_PRIVATE_KEY:
        into.private_key = key_of(a.data).value_or(WgKey{});
        break;
      case WGDEVICE_A_LISTEN_PORT:
        into.port = a.u16();
        break;
      case WGDEVICE_A_PEERS:
        for (const Attribute& peer : netlink::attributes(a.data)) decode_peer(peer.data, into);
        break;
      default:
        break;
    }
}

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::optional<WgKey> parse_hex_key(std::string_view text) {
  WgKey key;
  if (text.size() != 2 * key.bytes.size()) return std::nullopt;
  for (size_t i = 0; i < key.bytes.size(); ++i) {
    int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    key.bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return key;
}

std::string line(std::string_view key, std::string_view value) {
  return std::string(key) + "=" + std::string(value) + "\n";
}

}  // namespace

std::string uapi_configure(const WgKey& private_key, uint16_t port) {
  return "set=1\n" + line("private_key", hex_encode(raw(private_key))) + line("listen_port", std::to_string(port)) +
         "\n";
}

std::string uapi_peer(const WgPeer& peer, WgPeerChange change) {
  std::string out = "set=1\n" + line("public_key", hex_encode(raw(peer.key)));
  if (change == WgPeerChange::remove) return out + "remove=true\n\n";
  if (change == WgPeerChange::endpoint_only) out += "update_only=true\n";
  if (peer.endpoint) out += line("endpoint", peer.endpoint->text());
  if (change == WgPeerChange::put) {
    out += line("persistent_keepalive_interval", std::to_string(peer.keepalive_seconds));
    out += "replace_allowed_ips=true\n";
    for (const IpPrefix& prefix : peer.allowed_ips) out += line("allowed_ip", prefix.network().text());
  }
  return out + "\n";
}

namespace {

uint64_t number(std::string_view text) {
  auto value = parse_int(text);
  return value && *value > 0 ? static_cast<uint64_t>(*value) : 0;
}

// One line of a peer. The two parts of the handshake's time come as two lines.
void decode_peer_line(std::string_view key, std::string_view value, WgPeerState& peer) {
  if (key == "endpoint") peer.endpoint = os::Endpoint::parse(value);
  if (key == "persistent_keepalive_interval") peer.keepalive_seconds = static_cast<uint16_t>(number(value));
  if (key == "rx_bytes") peer.received_bytes = number(value);
  if (key == "tx_bytes") peer.sent_bytes = number(value);
  if (key == "last_handshake_time_sec" && number(value) > 0 && number(value) < 9'000'000'000)
    peer.last_handshake = WallTime{static_cast<int64_t>(number(value)) * 1'000'000'000};
  if (key == "last_handshake_time_nsec" && peer.last_handshake && number(value) < 1'000'000'000)
    peer.last_handshake = *peer.last_handshake + Duration(number(value));
  if (key == "allowed_ip")
    if (auto prefix = IpPrefix::parse(value)) peer.allowed_ips.push_back(*prefix);
}

}  // namespace

Result<WgDevice> uapi_decode(std::string_view text) {
  WgDevice out;
  bool in_peer = false;
  for (std::string_view row : split(text, '\n')) {
    size_t equals = row.find('=');
    if (equals == row.npos) continue;
    std::string_view key = row.substr(0, equals), value = row.substr(equals + 1);
    if (key == "private_key") out.private_key = parse_hex_key(value).value_or(WgKey{});
    if (key == "listen_port") out.port = static_cast<uint16_t>(number(value));
    if (key == "public_key") {
      auto parsed = parse_hex_key(value);
      in_peer = parsed.has_value();
      if (in_peer) out.peers.emplace_back().key = *parsed;
    } else if (in_peer) {
      decode_peer_line(key, value, out.peers.back());
    }
  }
  int refused = uapi_errno(text).value_or(0);
  if (refused) return fail(netlink::error_of("read a wireguard device", std::abs(refused)));
  return out;
}

std::optional<int> uapi_errno(std::string_view text) {
  size_t at = text.starts_with("errno=") ? 0 : text.rfind("\nerrno=");
  if (at == text.npos) return std::nullopt;
  at = text.find('=', at) + 1;
  size_t end = text.find('\n', at);
  if (end == text.npos) return std::nullopt;
  auto value = parse_int(text.substr(at, end - at));
  return value && *value >= -4095 && *value <= 4095 ? static_cast<int>(*value) : EPROTO;
}

}  // namespace dure::kernel
