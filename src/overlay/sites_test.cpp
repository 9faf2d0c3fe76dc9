#include "overlay/sites.h"

#include <gtest/gtest.h>

#include <random>

namespace dure::overlay {
namespace {

TEST(Sites, ConnectedPartsByEitherEnd) {
  const auto sites =
      name_sites({{"a", "k1", {"b"}, ""}, {"b", "k2", {}, ""}, {"c", "k3", {"b"}, ""}, {"d", "k4", {"nobody"}, ""}});
  EXPECT_EQ(sites.at("a"), sites.at("b"));
  EXPECT_EQ(sites.at("a"), sites.at("c"));
  EXPECT_NE(sites.at("a"), sites.at("d"));
  EXPECT_EQ(sites.at("a").substr(0, 5), "site-");
  EXPECT_EQ(sites.at("a").size(), 11u);
}

TEST(Sites, ANameIsKeptWhileAnyMemberRemains) {
  auto before = name_sites({{"a", "k1", {"b"}, ""}, {"b", "k2", {}, ""}});
  // The one that gave the name is gone; a newcomer with a smaller identity changes nothing.
  const auto after = name_sites({{"b", "k2", {"z"}, before.at("b")}, {"z", "k0", {}, ""}});
  EXPECT_EQ(after.at("b"), before.at("b"));
  EXPECT_EQ(after.at("z"), before.at("b"));
}

TEST(Sites, WhoMovesAwayTakesANewNameAndTheOthersKeepTheirs) {
  const auto sites =
      name_sites({{"a", "k1", {"b"}, "site-x"}, {"b", "k2", {}, "site-x"}, {"laptop", "k3", {}, "site-x"}});
  EXPECT_EQ(sites.at("a"), "site-x");
  EXPECT_EQ(sites.at("b"), "site-x");
  EXPECT_NE(sites.at("laptop"), "site-x");
}

TEST(Sites, WhoComesTakesTheNameOfTheMany) {
  const auto sites = name_sites({{"a", "k1", {"b", "laptop"}, "site-x"},
                                 {"b", "k2", {}, "site-x"},
                                 {"laptop", "k3", {}, "site-y"},
                                 {"left", "k4", {}, "site-y"}});
  EXPECT_EQ(sites.at("laptop"), "site-x");
  EXPECT_EQ(sites.at("left"), "site-y");
}

TEST(Sites, RandomClustersAgreeWhateverTheOrderAndComeToRest) {
  const unsigned seed = std::random_device{}();
  std::mt19937 dice(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (int round = 0; round < 300; ++round) {
    std::vector<SiteMember> members;
    for (unsigned i = 0; i < 1 + dice() % 12; ++i)
      members.push_back({"n" + std::to_string(i),
                         "k" + std::to_string(dice() % 50 * 100 + i),
                         {},
                         dice() % 3 ? "" : "site-" + std::to_string(dice() % 3)});
    for (SiteMember& one : members)
      for (unsigned i = 0; i < dice() % 3; ++i) one.lan.push_back(members[dice() % members.size()].node);
    const auto sites = name_sites(members);
    std::shuffle(members.begin(), members.end(), dice);
    EXPECT_EQ(name_sites(members), sites);
    for (SiteMember& one : members) {
      for (const std::string& other : one.lan) EXPECT_EQ(sites.at(one.node), sites.at(other));
      one.site = sites.at(one.node);
    }
    EXPECT_EQ(name_sites(members), sites);
  }
}

}  // namespace
}  // namespace dure::overlay
