#include "bootstrap/first_start.h"

#include <gtest/gtest.h>

#include "os/clock.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

InitOptions options_for_test() {
  InitOptions options;
  options.server.advertise_address = "192.0.2.10";
  options.server.node_name = "pi";
  options.agent.node_name = "pi";
  options.agent.server_urls = {options.server.url()};
  return options;
}

TEST(FirstStart, WritesKeysKubeconfigsAndSettings) {
  os::MemoryDisk disk;
  const auto random = os::make_seeded_random(1);
  const Places places;
  const WallTime now{1'700'000'000'000'000'000};
  const auto report = prepare_server(disk, *random, places, options_for_test(), now);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->ca_hash.starts_with("sha256:"));
  for (const std::string& path :
       {places.admin_conf(), places.kubelet_conf(), places.ca_certificate(), places.server_conf()})
    EXPECT_TRUE(disk.exists(path)) << path;
  const auto settings = read_server_settings(disk, places);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->url(), "https://192.0.2.10:6443");
}

TEST(FirstStart, SecondInitIsRefusedWithTheWayOut) {
  os::MemoryDisk disk;
  const auto random = os::make_seeded_random(1);
  const WallTime now{1'700'000'000'000'000'000};
  ASSERT_TRUE(prepare_server(disk, *random, {}, options_for_test(), now));
  const auto again = prepare_server(disk, *random, {}, options_for_test(), now);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason, "AlreadyInitialized");
  EXPECT_NE(again.error().remedy.find("dure reset"), std::string::npos);
}

TEST(FirstStart, MissingSettingsNameTheCommand) {
  os::MemoryDisk disk;
  const auto settings = read_agent_settings(disk, {});
  ASSERT_FALSE(settings);
  EXPECT_EQ(settings.error().reason, "NotInitialized");
}

}  // namespace
}  // namespace dure::bootstrap
