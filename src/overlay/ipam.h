// AddressPool: which pod of this node has which address, as files: one per address in <folder>, its name the address
// and its text the container and the interface (the layout that host-local also uses). The folder is under /run: a
// reboot takes the pods and their addresses together, and nothing is written to the disk.
//
// Thread and process: several `dure-cni` processes run at once; every call holds the pool's lock. Cost: a few file
// operations.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "os/disk.h"

namespace dure::overlay {

struct Attachment {
  std::string container_id, interface;
  friend auto operator<=>(const Attachment&, const Attachment&) = default;
};

class AddressPool {
 public:
  // `subnet`: the node's pod CIDR; its first address and the gateway (the second) are never handed out, nor the last.
  AddressPool(os::Disk& disk, std::string folder, IpPrefix subnet);

  Ip gateway() const;
  // The attachment's address: the one it has, or `wanted` when that is free, or the next free one after the last handed
  // out. "PodAddressesExhausted".
  Result<Ip> take(const Attachment& attachment, std::optional<Ip> wanted = {});
  Result<std::optional<Ip>> find(const Attachment& attachment);
  // Answers the addresses that became free. Idempotent.
  Result<std::vector<Ip>> release(const Attachment& attachment);
  Result<std::vector<std::pair<Attachment, Ip>>> list();

 private:
  Result<std::unique_ptr<os::FileLock>> lock();
  Result<std::vector<std::pair<Attachment, Ip>>> read();
  std::optional<uint32_t> next_free(const std::set<Ip>& used, std::optional<Ip> wanted) const;
  std::string path_of(const Ip& ip) const { return folder_ + "/" + ip.text(); }

  os::Disk& disk_;
  std::string folder_;
  IpPrefix subnet_;
};

}  // namespace dure::overlay
