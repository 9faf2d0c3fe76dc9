#include "bootstrap/settings.h"

#include <gtest/gtest.h>

namespace dure::bootstrap {
namespace {

TEST(Settings, AgentTextRoundTrips) {
  AgentSettings settings;
  settings.node_name = "pi";
  settings.labels = {"a=b", "c="};
  settings.pods_max = 30;
  const auto again = parse_agent_settings(to_text(settings));
  ASSERT_TRUE(again);
  EXPECT_EQ(to_text(*again), to_text(settings));
  EXPECT_EQ(again->labels, settings.labels);
}

TEST(Settings, TyposAreNotSilent) {
  const auto wrong = parse_server_settings("# comment\n\nbind-prot = 6443\n");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message, "line 3: unknown key \"bind-prot\"");
  EXPECT_FALSE(parse_server_settings("bind-port = x"));
  EXPECT_FALSE(parse_server_settings("bind-port"));
}

TEST(Settings, ServiceAddressesComeFromTheRange) {
  ServerSettings settings;
  settings.service_cidr = "10.96.0.0/12";
  EXPECT_EQ(settings.service_address(1), "10.96.0.1");
  EXPECT_EQ(settings.service_address(10), "10.96.0.10");
}

}  // namespace
}  // namespace dure::bootstrap
