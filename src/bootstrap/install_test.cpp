// Installing and its undoing, also of an installation that was killed between any two steps.
#include <gmock/gmock.h>

#include <functional>
#include <optional>
#include <set>

#include "bootstrap/first_start.h"
#include "bootstrap/journal.h"
#include "bootstrap/service.h"
#include "bootstrap/snapshot.h"
#include "kernel/links.h"
#include "kernel/mounts.h"
#include "kernel/namespace_fixture.h"
#include "kernel/nft.h"
#include "kernel/sysctl.h"
#include "os/clock.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// An init system that only remembers; a unit without its file is unknown to it, as to systemd.
class FakeServices final : public ServiceManager {
 public:
  explicit FakeServices(os::Disk& disk) : disk_(disk) {}
  bool is_there() const override { return true; }
  Status reload() override { return {}; }
  Status start(const std::string& unit) override {
    if (!disk_.exists(std::string(unit_folder) + "/" + unit)) return fail(not_found("unit", unit));
    running.insert(unit);
    return {};
  }
  Status stop(const std::string& unit) override {
    running.erase(unit);
    if (on_stop) on_stop(unit);
    return {};
  }
  Result<std::string> state(const std::string& unit) override {
    return running.contains(unit) ? next_state : "inactive";
  }
  std::string last_words(const std::string&) override { return "it said why"; }
  std::set<std::string> running;
  std::string next_state = "active";
  std::function<void(const std::string& unit)> on_stop;

 private:
  os::Disk& disk_;
};

class NoMounts final : public kernel::Mounts {
 public:
  Result<std::vector<kernel::MountEntry>> list() override { return std::vector<kernel::MountEntry>{}; }
  Status mount(const kernel::MountRequest&) override { return {}; }
  Status bind(const std::string&, const std::string&, const kernel::BindOptions&) override { return {}; }
  Status tmpfs(const std::string&, const kernel::TmpfsOptions&) override { return {}; }
  Status set_propagation(const std::string&, kernel::Propagation, bool) override { return {}; }
  Status unmount(const std::string&, bool) override { return {}; }
};

TEST(Service, UnitsKeepContainersAndComeBack) {
  const std::string agent = unit_text(agent_unit_name, "/usr/bin/dure", {});
  for (const char* line : {"ExecStart=/usr/bin/dure agent\n", "Restart=always\n", "KillMode=process\n", "Type=notify\n",
                           "EnvironmentFile=-/etc/dure/environment\n", "WantedBy=multi-user.target\n",
                           "After=network-online.target dure-server.service containerd.service"})
    EXPECT_THAT(agent, HasSubstr(line));
  const std::string server = unit_text(server_unit_name, "/usr/bin/dure", {});
  EXPECT_THAT(server, HasSubstr("ExecStart=/usr/bin/dure server\n"));
  EXPECT_EQ(server.find("KillMode"), std::string::npos);
}

TEST(Service, ProxyVariablesOfTheShell) {
  const char* environment[] = {"PATH=/bin",   "HTTPS_PROXY=http://p:3128",    "no_proxy=10.0.0.0/8",
                               "http_proxy=", "HTTP_PROXY=a\nExecStart=evil", "XHTTP_PROXY=x",
                               nullptr};
  EXPECT_THAT(proxy_variables(environment), ElementsAre("HTTPS_PROXY=http://p:3128", "no_proxy=10.0.0.0/8"));
}

TEST(Service, OneThatDoesNotStayIsSaidWithItsLastWords) {
  os::MemoryDisk disk;
  FakeServices services(disk);
  services.running = {"dure-agent.service"};
  int pauses = 0;
  EXPECT_TRUE(await_service(services, "dure-agent.service", 3, [&] { ++pauses; }));
  services.next_state = "activating";
  const Status late = await_service(services, "dure-agent.service", 3, [&] { ++pauses; });
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason, "ServiceFailed");
  EXPECT_THAT(late.error().message, HasSubstr("it said why"));
  EXPECT_EQ(pauses, 3);
}

TEST(Snapshot, DifferenceSaysWhatWasLeftAndWhatIsGone) {
  EXPECT_THAT(snapshot_difference({"a", "b", "c"}, {"a", "c", "d"}), ElementsAre("- b", "+ d"));
  EXPECT_THAT(snapshot_difference({"a"}, {"a"}), IsEmpty());
}

struct InstallTest : ::testing::Test {
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    ns.emplace(kernel::must(kernel::NetNamespace::create()));
  }

  struct World {
    explicit World(uint64_t seed, const kernel::NetNamespace& ns)
        : disk(seed), links(kernel::must(kernel::open_links(&ns))), nft(kernel::must(kernel::open_nft("dure", &ns))) {
      // A machine that kubeadm was on, and one program that runs from a home folder.
      for (const char* folder : {"/etc/kubernetes/manifests", "/etc/systemd/system/multi-user.target.wants", "/home/me",
                                 "/usr/local/bin", "/var/lib"})
        (void)disk.make_directories(folder);
      (void)os::write_file_atomic(disk, "/etc/kubernetes/manifests/old.yaml", "theirs");
      (void)os::write_file_atomic(disk, "/home/me/dure", "program", 0755);
    }
    Machine view() { return {disk, *links, mounts, *nft, sysctl, &services}; }
    os::MemoryDisk disk;
    std::unique_ptr<kernel::Links> links;
    NoMounts mounts;
    std::unique_ptr<kernel::Nft> nft;
    kernel::MemorySysctl sysctl;
    FakeServices services{disk};
  };

  // All that `dure init` does to a machine.
  static Status install(World& world) {
    const Places places;
    DURE_CHECK(begin_journal(world.view(), places));
    InitOptions options;
    options.server.advertise_address = "192.0.2.10";
    options.server.node_name = options.agent.node_name = "pi";
    options.agent.server_urls = {options.server.url()};
    const auto random = os::make_seeded_random(1);
    auto report = prepare_server(world.disk, *random, places, options, WallTime{1'700'000'000'000'000'000});
    if (!report) return fail(std::move(report).error());
    Journal journal(world.disk, places.journal());
    return install_services(world.disk, journal, world.services, places,
                            {"/home/me/dure", true, {"HTTPS_PROXY=http://p:3128"}});
  }

  static void expect_as_before(World& world, const SnapshotLines& before, const std::string& when) {
    const ResetReport report = reset(world.view(), {}, {});
    EXPECT_THAT(report.refused, IsEmpty()) << when;
    EXPECT_THAT(snapshot_difference(before, take_snapshot(world.view(), {})), IsEmpty()) << when;
    EXPECT_FALSE(world.disk.exists(Places().data)) << when;
    EXPECT_THAT(world.services.running, IsEmpty()) << when;
    EXPECT_TRUE(world.disk.exists("/etc/kubernetes/manifests/old.yaml")) << when;
  }

  std::optional<kernel::NetNamespace> ns;
};

TEST_F(InstallTest, WholeAndUndone) {
  World world(1, *ns);
  const auto before = take_snapshot(world.view(), {});
  kernel::must(install(world));
  EXPECT_EQ(world.services.running, (std::set<std::string>{"dure-agent.service", "dure-server.service"}));
  EXPECT_EQ(*os::read_file(world.disk, std::string(installed_program)), "program");
  EXPECT_EQ(*read_snapshot(world.disk, {}), before);
  EXPECT_FALSE(snapshot_difference(before, take_snapshot(world.view(), {})).empty());
  expect_as_before(world, before, "after a whole installation");
}

TEST_F(InstallTest, WhatTheAgentDidUntilItStoppedIsUndoneToo) {
  World world(1, *ns);
  const auto before = take_snapshot(world.view(), {});
  kernel::must(install(world));
  world.services.on_stop = [&](const std::string&) {
    kernel::must(Journal(world.disk, Places().journal()).record({Change::Kind::folder, "/run/dure"}));
    (void)world.disk.make_directories("/run/dure");
  };
  expect_as_before(world, before, "an agent that was still writing");
}

// The n-th and every later operation on the disk fails: the process is gone. Then the machine either goes on (kill -9)
// or loses power as well.
TEST_F(InstallTest, KilledBetweenAnyTwoStepsAndUndone) {
  using Operation = os::MemoryDisk::Operation;
  int points = 0;
  for (int n = 0;; ++n) {
    bool finished = false;
    for (const bool power_loss : {false, true}) {
      World world(static_cast<uint64_t>(n) + 1, *ns);
      const auto before = take_snapshot(world.view(), {});
      int operations = 0;
      world.disk.set_fault([&](Operation, const std::string&) -> std::optional<Error> {
        if (operations++ < n) return std::nullopt;
        return internal("killed");
      });
      finished = install(world).has_value();
      world.disk.set_fault({});
      if (power_loss) world.disk.crash();
      expect_as_before(world, before,
                       "killed at operation " + std::to_string(n) + (power_loss ? " and powered off" : ""));
      if (HasFailure()) return;
    }
    if (finished) break;
    ++points;
  }
  EXPECT_GT(points, 50);
  RecordProperty("points", points);
}

}  // namespace
}  // namespace dure::bootstrap
