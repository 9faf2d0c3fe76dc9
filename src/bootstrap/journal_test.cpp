#include "bootstrap/journal.h"

#include <gtest/gtest.h>

#include "bootstrap/settings.h"
#include "os/disk.h"

namespace dure::bootstrap {
namespace {

TEST(Journal, KeepsOrderAndTheFirstFormerValue) {
  os::MemoryDisk disk;
  ASSERT_TRUE(disk.make_directories("/d"));
  Journal journal(disk, "/d/journal");
  ASSERT_TRUE(journal.record({Change::Kind::sysctl, "net/ipv4/ip_forward", "0"}));
  ASSERT_TRUE(journal.record({Change::Kind::file, "/etc/x"}));
  ASSERT_TRUE(journal.record({Change::Kind::sysctl, "net/ipv4/ip_forward", "1"}));
  const std::vector<Change> expected = {{Change::Kind::sysctl, "net/ipv4/ip_forward", "0"},
                                        {Change::Kind::file, "/etc/x"}};
  EXPECT_EQ(*journal.changes(), expected);
}

TEST(Journal, SurvivesPowerLossAtEveryRecord) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    os::MemoryDisk disk(seed);
    ASSERT_TRUE(disk.make_directories("/d"));
    ASSERT_TRUE(disk.sync_directory("/"));
    Journal journal(disk, "/d/journal");
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(journal.record({Change::Kind::link, "l" + std::to_string(i)}));
    disk.crash();
    ASSERT_EQ(journal.changes()->size(), 5u) << "seed " << seed;
  }
}

TEST(Journal, FoldersThatWereThereBeforeStay) {
  os::MemoryDisk disk;
  const Places places;
  ASSERT_TRUE(disk.make_directories(places.data));
  ASSERT_TRUE(disk.make_directories(places.kubernetes));
  ASSERT_TRUE(disk.open(places.kubernetes + "/admin.conf", os::OpenMode::create));
  Journal journal(disk, places.journal());
  ASSERT_TRUE(record_places(disk, journal, places));
  bool whole = false, theirs = false, ours = false;
  const auto changes = journal.changes();
  for (const Change& change : *changes) {
    whole = whole || change.what == places.kubernetes;
    theirs = theirs || change.what == places.admin_conf();
    ours = ours || change.what == places.kubelet_conf();
  }
  EXPECT_FALSE(whole);
  EXPECT_FALSE(theirs);
  EXPECT_TRUE(ours);
}

}  // namespace
}  // namespace dure::bootstrap
