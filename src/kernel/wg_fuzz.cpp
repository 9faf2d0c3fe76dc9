// Fuzz: what the kernel and wireguard-go answer about a device.
#include "kernel/wg_encode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dure::kernel;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  WgDevice device;
  wg_decode(bytes, device);
  if (auto read = uapi_decode(bytes))
    for (const WgPeer& peer : read->peers) uapi_peer(peer, WgPeerChange::put);
  return 0;
}
