// How WireGuard's devices look on generic netlink and in wireguard-go's UAPI text. Pure. Sources of this room only.
#pragma once

#include <string>
#include <string_view>

#include "kernel/netlink.h"
#include "kernel/wg.h"

namespace dure::kernel {

enum class WgPeerChange : uint8_t { put, endpoint_only, remove };

// Generic netlink (linux/wireguard.h). One whole message each; `family` is the id the kernel gave the family.
void wg_encode_get(netlink::Writer& out, uint16_t family, std::string_view device);
void wg_encode_configure(netlink::Writer& out, uint16_t family, std::string_view device, const WgKey& private_key,
                         uint16_t port);
void wg_encode_peer(netlink::Writer& out, uint16_t family, std::string_view device, const WgPeer& peer,
                    WgPeerChange change);
// One message of the answer; a peer's addresses and the peers may go on in the next one.
void wg_decode(std::string_view attributes, WgDevice& into);

// UAPI (https://www.wireguard.com/xplatform/): lines "key=value", an empty line at the end.
std::string uapi_configure(const WgKey& private_key, uint16_t port);
std::string uapi_peer(const WgPeer& peer, WgPeerChange change);
// The answer to "get=1". An errno in it is an error; lines that cannot be read are left out.
Result<WgDevice> uapi_decode(std::string_view text);
// The number of its "errno=" line; nothing when there is none: the answer is not whole yet.
std::optional<int> uapi_errno(std::string_view text);

}  // namespace dure::kernel
