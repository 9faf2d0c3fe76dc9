#include "volumes/atomic_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace dure::volumes {
namespace {

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/dure-volumes-" "XX" "XX" "XX";
    path = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string read(const std::string& name) const { return read_small_file(path + "/v/" + name).value_or("(none)"); }
};

WallTime at(int seconds) { return {1'700'000'000'000'000'000 + seconds * 1'000'000'000ll}; }

TEST(AtomicWriter, ReplacesEverythingThroughOneLink) {
  Folder f;
  const std::string target = f.path + "/v";
  EXPECT_TRUE(*write_payload(target, {{"a", {"1"}}, {"sub/b", {"2", 0400}}}, at(0)));
  EXPECT_EQ(f.read("a"), "1");
  EXPECT_EQ(f.read("sub/b"), "2");
  EXPECT_EQ(*read_link(target + "/a"), "..data/a");
  EXPECT_EQ(facts_of(target + "/sub/b").mode, 0400u);
  const std::string first = *read_link(target + "/..data");
  EXPECT_EQ(first, "..2023_11_14_22_13_20.000000000");
  EXPECT_FALSE(*write_payload(target, {{"a", {"1"}}, {"sub/b", {"2", 0400}}}, at(1))) << "nothing changed";
  EXPECT_EQ(*read_link(target + "/..data"), first);
  EXPECT_TRUE(*write_payload(target, {{"a", {"3"}}, {"c", {"4"}}}, at(2)));
  EXPECT_EQ(f.read("a"), "3");
  EXPECT_EQ(f.read("c"), "4");
  EXPECT_EQ(f.read("sub/b"), "(none)");
  EXPECT_EQ(facts_of(target + "/" + first).kind, FileKind::none) << "the old files are gone";
  EXPECT_EQ(names_in(target)->size(), 4u);
}

TEST(AtomicWriter, HealsWhatAnAgentLeftHalfWay) {
  Folder f;
  const std::string target = f.path + "/v";
  EXPECT_TRUE(*write_payload(target, {{"a", {"1"}}}, at(0)));
  ASSERT_TRUE(make_link("..nowhere", target + "/..data_tmp"));
  ASSERT_TRUE(make_folders(target + "/..2023_old", 0755));
  ASSERT_TRUE(remove_tree(target + "/a"));
  EXPECT_FALSE(*write_payload(target, {{"a", {"1"}}}, at(1)));
  EXPECT_EQ(f.read("a"), "1");
  EXPECT_TRUE(*write_payload(target, {{"a", {"2"}}}, at(2)));
  EXPECT_EQ(names_in(target)->size(), 3u);
}

TEST(AtomicWriter, RefusesPathsThatLeadOut) {
  Folder f;
  for (const char* bad : {"", "/a", "../a", "a/../b", "..a"})
    EXPECT_FALSE(write_payload(f.path + "/v", {{bad, {"x"}}}, at(0))) << bad;
  EXPECT_TRUE(check_projection_path("a..b/c"));
}

TEST(AtomicWriter, AFailedPreparationChangesNothing) {
  Folder f;
  const std::string target = f.path + "/v";
  EXPECT_TRUE(*write_payload(target, {{"a", {"1"}}}, at(0)));
  EXPECT_FALSE(write_payload(target, {{"a", {"2"}}}, at(1), [](const std::string&) { return fail(internal("no")); }));
  EXPECT_EQ(f.read("a"), "1");
}

TEST(Files, RemoveTreeStaysInsideAndLinksAreNotFollowed) {
  Folder f;
  ASSERT_TRUE(make_folders(f.path + "/keep/deep", 0755));
  ASSERT_TRUE(make_folders(f.path + "/go", 0755));
  ASSERT_TRUE(make_link(f.path + "/keep", f.path + "/go/link"));
  ASSERT_TRUE(remove_tree(f.path + "/go"));
  EXPECT_EQ(facts_of(f.path + "/keep/deep").kind, FileKind::directory);
  EXPECT_TRUE(remove_tree(f.path + "/go")) << "gone already";
}

TEST(Files, OpenInsideTreatsTheRootAsTheTop) {
  Folder f;
  ASSERT_TRUE(make_folders(f.path + "/root/in", 0755));
  ASSERT_TRUE(write_file(f.path + "/secret", "x", 0600));
  ASSERT_TRUE(make_link("/secret", f.path + "/root/absolute"));
  ASSERT_TRUE(make_link("../secret", f.path + "/root/relative"));
  ASSERT_TRUE(make_link("in", f.path + "/root/good"));
  for (const char* bad : {"../secret", "absolute", "relative", "in/../../secret", "/in"}) {
    auto fd = open_inside(f.path + "/root", bad, false);
    EXPECT_FALSE(fd) << bad;
    if (fd) ::close(*fd);
  }
  auto fd = open_inside(f.path + "/root", "good/made/by/us", true);
  ASSERT_TRUE(fd) << fd.error().message;
  ::close(*fd);
  EXPECT_EQ(facts_of(f.path + "/root/in/made/by/us").kind, FileKind::directory);
}

TEST(Files, GroupsGetWhatFsGroupPromises) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root";
  Folder f;
  ASSERT_TRUE(make_folders(f.path + "/v/d", 0700));
  ASSERT_TRUE(write_file(f.path + "/v/d/x", "", 0600));
  ASSERT_TRUE(give_to_group(f.path + "/v", 4242, false));
  EXPECT_EQ(facts_of(f.path + "/v/d/x").gid, 4242u);
  EXPECT_EQ(facts_of(f.path + "/v/d/x").mode, 0660u);
  EXPECT_EQ(facts_of(f.path + "/v/d").mode, 02770u);
}

}  // namespace
}  // namespace dure::volumes
