// Wg: WireGuard devices of one network namespace: key, port and peers.
//
// Implementations: the kernel's own (generic netlink, family "wireguard") and wireguard-go over its UAPI socket
// (`/var/run/wireguard/NAME.sock`); `open_wg` chooses by itself: the kernel's where a device of that kind can be made,
// else wireguard-go. Its process lives on its own, so that a restart of ours interrupts nothing, and is found again by
// its device; it ends when the device is removed. Suite: wg_test.cpp, the same for both.
// Thread: any; calls take turns. Failure: "NotFound" (no such device or peer), "Forbidden", "SystemError",
// "WireguardMissing" (neither kind can be had) and "WireguardSilent" (wireguard-go does not answer within 5 s).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "base/time.h"
#include "os/sockets.h"

namespace dure::kernel {

class Links;
class NetNamespace;

struct WgKey {
  std::array<uint8_t, 32> bytes{};

  static std::optional<WgKey> parse(std::string_view base64);
  std::string text() const;  // base64, as wg(8) writes it
  friend auto operator<=>(const WgKey&, const WgKey&) = default;
};

struct WgPeer {
  WgKey key;                             // public
  std::optional<os::Endpoint> endpoint;  // put_peer: none leaves what is there
  std::vector<IpPrefix> allowed_ips;     // what it may send from, and what is sent to it
  uint16_t keepalive_seconds = 0;        // 0: none
  friend auto operator<=>(const WgPeer&, const WgPeer&) = default;
};

struct WgPeerState : WgPeer {
  std::optional<WallTime> last_handshake;  // none: never
  uint64_t received_bytes = 0, sent_bytes = 0;
};

struct WgDevice {
  WgKey private_key;  // zero: none was set
  uint16_t port = 0;
  std::vector<WgPeerState> peers;  // by key
};

enum class WgKind : uint8_t { kernel, wireguard_go };

class Wg {
 public:
  virtual ~Wg() = default;
  virtual WgKind kind() const = 0;
  // The device is there afterwards (down, without key and peers when it is new). Idempotent: one of this kind that is
  // there is kept as it is; a device of that name of another kind is "AlreadyExists".
  virtual Status create(std::string_view name) = 0;
  virtual Status remove(std::string_view name) = 0;  // idempotent
  virtual Status configure(std::string_view name, const WgKey& private_key, uint16_t port) = 0;
  virtual Result<WgDevice> read(std::string_view name) = 0;
  // Adds the peer or replaces its allowed addresses and keepalive. An address that another peer had moves here.
  virtual Status put_peer(std::string_view name, const WgPeer& peer) = 0;
  // Of a peer that is there ("NotFound" or no effect otherwise). Also when it is the same as before: wireguard-go then
  // forgets the source address it sent from, which is what helps after this machine's address changed.
  virtual Status set_endpoint(std::string_view name, const WgKey& peer, const os::Endpoint& endpoint) = 0;
  virtual Status remove_peer(std::string_view name, const WgKey& peer) = 0;  // idempotent
};

struct WgOptions {
  std::string program = "wireguard-go";  // looked up on PATH
  std::string socket_folder = "/var/run/wireguard";
};

// Of one kind. `links` are those of the same namespace and outlive the answer.
std::unique_ptr<Wg> kernel_wg(Links& links, const NetNamespace* ns = nullptr);
std::unique_ptr<Wg> wireguard_go(Links& links, WgOptions options = {}, const NetNamespace* ns = nullptr);
// The kind that works here. Makes `name`, or takes over the one that is there (of either kind).
Result<std::unique_ptr<Wg>> open_wg(Links& links, std::string_view name, WgOptions options = {},
                                    const NetNamespace* ns = nullptr);

}  // namespace dure::kernel
