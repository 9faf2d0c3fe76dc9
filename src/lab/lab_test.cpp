#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "lab/cache.h"
#include "lab/cgroup.h"
#include "lab/control.h"
#include "lab/forwarder.h"
#include "lab/lab.h"
#include "lab/process.h"
#include "lab/spec.h"
#include "lab/verbs.h"

namespace dure::lab {
namespace {

TEST(Spec, StateRoundTrips) {
  char folder[] = "/tmp/dure-lab-test-XXXXXX";
  ASSERT_TRUE(mkdtemp(folder));
  LabState state;
  state.supervisor_pid = 7;
  state.api_port = 1234;
  state.nodes = {{"node1", "10.0.0.1", 9, true, false, "home", "on"},
                 {"node2", "10.0.0.2", 10, false, true, "home", "off"}};
  state.sites = {{"home", "192.168.0.0/24", "home+hairpin", "203.0.113.10", "delay=30ms,loss=1%"}};
  state.routers = {{"internet", 3}};
  state.cuts = {"home company"};
  ASSERT_TRUE(write_state(folder, state));
  const auto again = read_state(folder);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->api_port, 1234);
  ASSERT_NE(again->node("node2"), nullptr);
  EXPECT_EQ(again->node("node2")->pid, 10);
  EXPECT_TRUE(again->node("node1")->server);
  EXPECT_EQ(again->node("node3"), nullptr);
  EXPECT_EQ(again->node("node2")->condition, "off");
  ASSERT_EQ(again->sites.size(), 1u);
  EXPECT_EQ(again->sites[0].cable, "delay=30ms,loss=1%");
  EXPECT_EQ(again->routers[0].pid, 3);
  EXPECT_EQ(again->cuts, std::vector<std::string>{"home company"});
  std::filesystem::remove_all(folder);
}

TEST(Cache, FormerRecipesGoUnlessALabHoldsThem) {
  namespace fs = std::filesystem;
  char folder[] = "/tmp/dure-lab-test-XXXXXX";
  ASSERT_TRUE(mkdtemp(folder));
  setenv("DURE_LAB_CACHE", folder, 1);
  const auto made = [&](const std::string& name) {
    fs::create_directories(std::string(folder) + "/" + name + "/usr");
    return std::string(folder) + "/" + name;
  };
  const std::string current = made("debian-00000001"), held = made("debian-00000002"), old = made("debian-00000003");
  const std::string half = made("debian-00000004.new"), half_gone = made("debian-00000005.old");
  const std::string other = made("vm-00000001"), foreign = made("debian-of-mine");
  {
    CacheHolds lab;
    ASSERT_TRUE(lab.take(held));
    EXPECT_FALSE(lab.take(folder + std::string("/debian-0000000f")));
    const CacheLock lock;
    remove_former("debian", current);
    for (const std::string& stays : {current, held, other, foreign}) EXPECT_TRUE(fs::exists(stays + "/usr")) << stays;
    for (const std::string& gone : {old, half, half_gone}) EXPECT_FALSE(fs::exists(gone)) << gone;
  }
  const CacheLock lock;
  remove_former("debian", current);
  EXPECT_FALSE(fs::exists(held));
  unsetenv("DURE_LAB_CACHE");
  fs::remove_all(folder);
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

TEST(Process, AChildsErrorComesBack) {
  EXPECT_TRUE(run_in_child([]() -> Status { return {}; }));
  const Status failed = run_in_child([]() -> Status { return fail(Error{500, "Why", "a sentence"}); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().reason, "Why");
  EXPECT_EQ(failed.error().message, "a sentence");
}

TEST(Verbs, TheNumberOfWordsIsChecked) {
  EXPECT_TRUE(check_verb({"cut", "home"}));
  EXPECT_FALSE(check_verb({"cut"}));
  EXPECT_FALSE(check_verb({"roam", "laptop"}));
  EXPECT_FALSE(check_verb({"dance"}));
}

TEST(Control, AnswersAndErrorsComeBack) {
  char folder[] = "/tmp/dure-lab-test-XXXXXX";
  ASSERT_TRUE(mkdtemp(folder));
  const auto listener = listen_control(folder);
  ASSERT_TRUE(listener);
  const int child = fork();
  if (child == 0) {
    for (int i = 0; i < 2; ++i)
      serve_control(*listener, [](const std::vector<std::string>& words) -> Result<std::string> {
        if (words[0] == "cut") return words[1] + " is cut";
        return fail(Error{404, "NoSuchSite", "two\nlines", "a remedy"});
      });
    _exit(0);
  }
  EXPECT_EQ(ask_control(folder, {"cut", "home"}).value_or(""), "home is cut");
  const auto refused = ask_control(folder, {"heal", "x"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "NoSuchSite");
  EXPECT_EQ(refused.error().message, "two\nlines");
  EXPECT_EQ(refused.error().remedy, "a remedy");
  EXPECT_EQ(wait_for(child), 0);
  std::filesystem::remove_all(folder);
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
  EXPECT_FALSE(change("nothing", {"cut", "home"}));
  unsetenv("DURE_LAB_FOLDER");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace dure::lab
