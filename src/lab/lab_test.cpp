#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "lab/cgroup.h"
#include "lab/forwarder.h"
#include "lab/lab.h"
#include "lab/process.h"
#include "lab/spec.h"

namespace dure::lab {
namespace {

TEST(Spec, OneLanHasOneServer) {
  const LabSpec spec = one_lan("x", "/tmp/x", "/bin/true", 3);
  ASSERT_EQ(spec.nodes.size(), 3u);
  EXPECT_TRUE(spec.nodes[0].server);
  EXPECT_FALSE(spec.nodes[2].server);
  EXPECT_EQ(spec.nodes[2].address, "192.168.35.13");
}

TEST(Spec, StateRoundTrips) {
  char folder[] = "/tmp/dure-lab-test-XXXXXX";
  ASSERT_TRUE(mkdtemp(folder));
  LabState state;
  state.supervisor_pid = 7;
  state.api_port = 1234;
  state.nodes = {{"node1", "10.0.0.1", 9, true, false}, {"node2", "10.0.0.2", 10, false, true}};
  ASSERT_TRUE(write_state(folder, state));
  const auto again = read_state(folder);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->api_port, 1234);
  ASSERT_NE(again->node("node2"), nullptr);
  EXPECT_EQ(again->node("node2")->pid, 10);
  EXPECT_TRUE(again->node("node1")->server);
  EXPECT_EQ(again->node("node3"), nullptr);
  std::filesystem::remove_all(folder);
}

TEST(Process, ExitStatusAndSignalsComeBack) {
  Command exits{{"sh", "-c", "exit 3"}};
  const auto pid = spawn(exits);
  ASSERT_TRUE(pid);
  EXPECT_EQ(wait_for(*pid), 3);
  Command killed{{"sh", "-c", "kill -9 $$"}};
  EXPECT_EQ(wait_for(*spawn(killed)), 128 + 9);
}

TEST(Process, AChildInNewNamespacesIsPidOne) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto pid = clone_child(0x20000000 /* CLONE_NEWPID */, [] { return getpid() == 1 ? 0 : 1; });
  ASSERT_TRUE(pid);
  EXPECT_EQ(wait_for(*pid), 0);
}

TEST(Lab, VerbsOfALabThatIsNotThereSaySo) {
  char folder[] = "/tmp/dure-lab-test-XXXXXX";
  ASSERT_TRUE(mkdtemp(folder));
  setenv("DURE_LAB_FOLDER", folder, 1);
  const auto state = status("nothing");
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().reason, "LabNotRunning");
  EXPECT_TRUE(down("nothing", [](const std::string&) {}));
  EXPECT_FALSE(exec("nothing", "node1", {"true"}));
  unsetenv("DURE_LAB_FOLDER");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace dure::lab
