#include <stdlib.h>

#include "bootstrap/checks/machine_facts.h"
#include "kernel/namespaces.h"
#include "kernel/nft.h"
#include "os/clock.h"
#include "os/disk.h"
#include "os/proc.h"

namespace dure::bootstrap {
namespace {

using kernel::NetNamespace;

class LinuxProbe final : public MachineProbe {
 public:
  bool root() override { return os::is_root(); }
  WallTime now() override { return os::make_clock()->wall_now(); }
  bool clock_synchronised() override { return os::clock_is_synchronised(); }
  uint64_t processors() override { return os::processors(); }
  uint64_t open_files_max() override { return os::open_files_max(); }

  std::optional<os::FileSystemFacts> file_system(const std::string& path) override {
    for (std::string at = path; !at.empty(); at.resize(at.rfind('/')))
      if (auto facts = os::file_system_facts(at)) return *facts;
    auto root = os::file_system_facts("/");
    return root ? std::optional(*root) : std::nullopt;
  }

  bool resolves(const std::string& host) override { return os::host_resolves(host); }

  std::vector<kernel::Link> links() override {
    auto links = kernel::open_links();
    return links ? (*links)->list().value_or(std::vector<kernel::Link>{}) : std::vector<kernel::Link>{};
  }
  std::vector<kernel::LinkAddress> addresses() override {
    auto links = kernel::open_links();
    return links ? (*links)->addresses().value_or(std::vector<kernel::LinkAddress>{})
                 : std::vector<kernel::LinkAddress>{};
  }
  std::vector<kernel::Route> routes() override {
    auto links = kernel::open_links();
    return links ? (*links)->routes().value_or(std::vector<kernel::Route>{}) : std::vector<kernel::Route>{};
  }

  std::set<std::string> features() override {
    std::set<std::string> out;
    auto ns = NetNamespace::create();
    if (!ns) return out;
    out.insert("netns");
    if (auto links = kernel::open_links(&*ns)) {
      if ((*links)->create_veth({.name = "a", .peer_name = "b"})) out.insert("veth");
      if ((*links)->create_bridge({.name = "c"})) out.insert("bridge");
      if ((*links)->create_vxlan({.name = "d", .vni = 1})) out.insert("vxlan");
    }
    auto nft = kernel::open_nft("dure", &*ns);
    if (!nft) return out;
    kernel::NftBatch filter, nat;
    filter.put_chain({.name = "try", .hook = kernel::NftHook::input});
    nat.put_chain(
        {.name = "try-nat", .hook = kernel::NftHook::postrouting, .type = kernel::NftChainType::nat, .priority = 100});
    nat.add_rule("try-nat", {kernel::NftMasquerade{}});
    if ((*nft)->apply(filter)) out.insert("nft");
    if ((*nft)->apply(nat)) out.insert("nft_nat");
    return out;
  }

  std::string environment(const std::string& name) override {
    const char* value = getenv(name.c_str());
    return value ? value : "";
  }

  bool has_program(const std::string& name) override {
    const char* path = getenv("PATH");
    const auto disk = os::make_disk();
    std::string folders = path && *path ? path : "/usr/bin:/bin";
    folders += ":/usr/local/sbin:/usr/sbin:/sbin";  // where a user's PATH does not look
    for (size_t at = 0; at <= folders.size();) {
      const size_t end = std::min(folders.find(':', at), folders.size());
      if (end > at && disk->exists(folders.substr(at, end - at) + "/" + name)) return true;
      at = end + 1;
    }
    return false;
  }

  std::string run(std::vector<std::string> command) override {
    if (!has_program(command[0])) return {};
    auto output = os::run_command({.argv = std::move(command)}, {}, 5s);
    return output && output->exit.ok() ? output->out : std::string();
  }
};

}  // namespace

std::unique_ptr<MachineProbe> open_machine_probe() { return std::make_unique<LinuxProbe>(); }

}  // namespace dure::bootstrap
