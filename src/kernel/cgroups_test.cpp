// Cgroups on trees of ordinary files, as the kernel would show them: what is written where, on v2, hybrid and v1. A
// real v2 machine is the lab's (node kind vm).
#include "kernel/cgroups.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace dure::kernel {
namespace {

namespace fs = std::filesystem;

class Tree : public testing::Test {
 protected:
  Tree() {
    char folder[] = "/tmp/cgroups_test.XXXXXX";
    root_ = mkdtemp(folder);
  }
  ~Tree() override { fs::remove_all(root_); }
  // A file of the kernel's.
  void put(const fs::path& path, std::string_view text = "") {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::string get(const fs::path& path) {
    std::ifstream in(root_ / path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  std::unique_ptr<Cgroups> open(std::string own = "0::/\n", bool below_own = false) {
    return open_cgroups({root_, "kubepods", below_own, std::move(own)}).value();
  }
  void put_v2_root() {
    put("cgroup.controllers", "cpuset cpu io memory pids\n");
    put("cgroup.subtree_control", "cpu\n");
  }
  fs::path root_;
};

TEST_F(Tree, Version2HandsItsControllersDownAndLimitsInItsOwnUnits) {
  put_v2_root();
  const auto groups = open();
  EXPECT_EQ(groups->version(), CgroupVersion::v2);
  EXPECT_EQ(groups->controllers(), (std::vector<std::string>{"cpuset", "cpu", "io", "memory", "pids"}));
  ASSERT_TRUE(groups->create("burstable/pod1"));
  EXPECT_TRUE(fs::is_directory(root_ / "kubepods/burstable/pod1"));
  EXPECT_TRUE(get("cgroup.subtree_control").starts_with("+pids")) << "each missing one by itself, the last one last";
  for (const char* file : {"memory.max", "cpu.weight", "pids.max", "cpuset.cpus"})
    put(fs::path("kubepods/burstable/pod1") / file);
  put("kubepods/burstable/pod1/cpu.max", "max 100000\n");
  ASSERT_TRUE(groups->set_limits(
      "burstable/pod1",
      {.memory_bytes_max = 64 << 20, .cpu_shares = 102, .cpu_quota_us = 50000, .pids_max = -1, .cpuset_cpus = "0-1"}));
  EXPECT_EQ(get("kubepods/burstable/pod1/memory.max"), "67108864");
  EXPECT_EQ(get("kubepods/burstable/pod1/cpu.weight"), "4");
  EXPECT_EQ(get("kubepods/burstable/pod1/cpu.max"), "50000 100000");
  EXPECT_EQ(get("kubepods/burstable/pod1/pids.max"), "max");
  EXPECT_EQ(get("kubepods/burstable/pod1/cpuset.cpus"), "0-1");
  EXPECT_FALSE(groups->set_limits("burstable/pod2", {.memory_bytes_max = 1}));
}

TEST_F(Tree, Version2IsReadInTheUnitsOfTheFace) {
  put_v2_root();
  put("kubepods/pod1/cpu.stat", "usage_usec 1500\nuser_usec 1000\nnr_periods 9\nnr_throttled 3\n");
  put("kubepods/pod1/memory.current", "5000\n");
  put("kubepods/pod1/memory.stat", "anon 3000\nfile 2000\ninactive_file 1200\n");
  put("kubepods/pod1/memory.max", "max\n");
  put("kubepods/pod1/memory.events", "low 0\noom 2\noom_kill 1\n");
  put("kubepods/pod1/pids.current", "7\n");
  put("kubepods/pod1/cgroup.procs", "11\n12\n");
  put("kubepods/pod1/abc/cgroup.procs", "13\n");
  const auto groups = open();
  const auto stat = groups->stat("pod1");
  ASSERT_TRUE(stat) << stat.error().message;
  EXPECT_EQ(stat->cpu, Duration(1'500'000));
  EXPECT_EQ(stat->cpu_throttled_periods, 3);
  EXPECT_EQ(stat->memory_bytes, 5000);
  EXPECT_EQ(stat->memory_working_set_bytes, 3800);
  EXPECT_EQ(stat->memory_rss_bytes, 3000);
  EXPECT_EQ(stat->memory_limit_bytes, -1);
  EXPECT_EQ(stat->oom_kills, 1);
  EXPECT_EQ(stat->pids, 7);
  EXPECT_EQ(groups->processes("pod1").value(), (std::vector<pid_t>{11, 12, 13}));
  EXPECT_EQ(groups->children("pod1"), std::vector<std::string>{"abc"});
  EXPECT_TRUE(groups->stat("pod2").error().is("NotFound"));
}

TEST_F(Tree, Version2BelowTheOwnGroup) {
  put_v2_root();
  fs::create_directories(root_ / "machine.slice/me");
  const auto groups = open("0::/machine.slice/me\n", true);
  ASSERT_TRUE(groups->create("pod1"));
  EXPECT_TRUE(fs::is_directory(root_ / "machine.slice/me/kubepods/pod1"));
}

TEST_F(Tree, HybridLimitsInVersion1AndMirrorsInVersion2) {
  for (const char* controller : {"memory", "cpu", "pids"}) put(fs::path(controller) / "cgroup.procs");
  put("unified/cgroup.procs");
  const auto groups = open("3:memory:/\n2:cpu:/\n1:pids:/\n4:net_cls:/\n0::/\n");
  EXPECT_EQ(groups->version(), CgroupVersion::hybrid);
  EXPECT_EQ(groups->controllers(), (std::vector<std::string>{"memory", "cpu", "pids"}));
  ASSERT_TRUE(groups->create("pod1"));
  EXPECT_TRUE(fs::is_directory(root_ / "unified/kubepods/pod1"));
  put("memory/kubepods/pod1/memory.limit_in_bytes");
  put("cpu/kubepods/pod1/cpu.shares");
  ASSERT_TRUE(groups->set_limits("pod1", {.memory_bytes_max = 1000, .cpu_shares = 102}));
  EXPECT_EQ(get("memory/kubepods/pod1/memory.limit_in_bytes"), "1000");
  EXPECT_EQ(get("cpu/kubepods/pod1/cpu.shares"), "102");
  EXPECT_FALSE(groups->set_limits("pod1", {.cpuset_cpus = "0"})) << "there is no cpuset here";
  fs::remove(root_ / "memory/kubepods/pod1/memory.limit_in_bytes");
  fs::remove(root_ / "cpu/kubepods/pod1/cpu.shares");
  ASSERT_TRUE(groups->remove("pod1"));
  EXPECT_FALSE(fs::exists(root_ / "memory/kubepods/pod1"));
  EXPECT_FALSE(fs::exists(root_ / "unified/kubepods/pod1"));
}

TEST_F(Tree, NothingOutsideTheParentIsTouched) {
  put_v2_root();
  const auto groups = open();
  EXPECT_FALSE(groups->create("../other"));
  EXPECT_FALSE(groups->remove("/"));
  EXPECT_FALSE(groups->set_limits("a/../../b", {.pids_max = 1}));
  EXPECT_FALSE(open_cgroups({root_, "", false, "0::/\n"}));
  EXPECT_FALSE(open_cgroups({root_ / "nothing", "kubepods", false, "0::/\n"}));
}

TEST(CgroupWeight, SpansBothScales) {
  EXPECT_EQ(cgroup_weight(0), 1);
  EXPECT_EQ(cgroup_weight(2), 1);
  EXPECT_EQ(cgroup_weight(1024), 39);
  EXPECT_EQ(cgroup_weight(262144), 10000);
  EXPECT_EQ(cgroup_weight(1 << 30), 10000);
}

}  // namespace
}  // namespace dure::kernel
