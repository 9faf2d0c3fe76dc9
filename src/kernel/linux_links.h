// LinuxLinks: Links over rtnetlink. Sources of this room only; others use open_links.
#pragma once

#include <mutex>

#include "kernel/links.h"
#include "kernel/namespaces.h"
#include "kernel/netlink.h"

namespace dure::kernel {

class LinuxLinks final : public Links {
 public:
  LinuxLinks(std::unique_ptr<netlink::Socket> socket, NetNamespace ns)
      : socket_(std::move(socket)), namespace_(std::move(ns)) {}

  Result<std::vector<Link>> list() override;
  Result<Link> get(std::string_view name) override;
  Status create_bridge(const BridgeOptions&) override;
  Status create_veth(const VethOptions&) override;
  Status create_vxlan(const VxlanOptions&) override;
  Status create_wireguard(std::string_view name) override;
  Status remove(std::string_view name) override;
  Status change(int index, const LinkChange&) override;
  Result<std::vector<LinkAddress>> addresses(int link) override;
  Status put_address(const LinkAddress&) override;
  Status remove_address(const LinkAddress&) override;
  Result<std::vector<Route>> routes(uint32_t table) override;
  Status put_route(const Route&) override;
  Status remove_route(const Route&) override;
  Result<std::vector<Neighbour>> neighbours(int link) override;
  Status put_neighbour(const Neighbour&) override;
  Status remove_neighbour(const Neighbour&) override;
  Result<std::vector<FdbEntry>> fdb(int link) override;
  Status put_fdb(const FdbEntry&) override;
  Status remove_fdb(const FdbEntry&) override;
  Result<std::unique_ptr<LinkWatch>> watch(std::function<void(LinkEvent)> handler) override;

 private:
  Status request(std::string_view what, const netlink::Writer& writer,
                 const std::function<void(const netlink::Message&)>& reader = {});
  Status dump(std::string_view what, const netlink::Writer& writer,
              const std::function<void(const netlink::Message&)>& reader);

  std::mutex mutex_;
  std::unique_ptr<netlink::Socket> socket_;
  NetNamespace namespace_;
};

}  // namespace dure::kernel
