// The conformance suite of os::Disk, run against the machine's disk and the one in memory; then
// what only memory can do.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "os/disk.h"

namespace dure::os {
namespace {

struct Case {
  const char* name;
  bool memory;
};

class DiskTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().memory) {
      disk_ = std::make_unique<MemoryDisk>();
      ASSERT_TRUE(disk_->make_directories(root_ = "/data"));
    } else {
      std::string pattern = "/tmp/dure_disk_" + std::string(6, 'X');
      root_ = mkdtemp(pattern.data());
      disk_ = make_disk();
    }
  }
  void TearDown() override {
    if (!GetParam().memory) std::filesystem::remove_all(root_);
  }
  std::string path(std::string_view name) const { return root_ + "/" + std::string(name); }
  std::unique_ptr<Disk> disk_;
  std::string root_;
};

TEST_P(DiskTest, WritesReadsAndGrows) {
  auto file = disk_->open(path("a"), OpenMode::create_new);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write_at(0, "hello"));
  ASSERT_TRUE((*file)->write_at(10, "world"));
  const std::string_view parts[] = {"one", "", "two"};
  ASSERT_TRUE((*file)->write_at(15, parts));
  ASSERT_TRUE((*file)->sync());
  EXPECT_EQ((*file)->size().value(), 21u);
  EXPECT_EQ(read_file(*disk_, path("a")).value(), std::string("hello\0\0\0\0\0worldonetwo", 21));
  char buffer[100];
  EXPECT_EQ((*file)->read_at(18, buffer).value(), 3u);
  EXPECT_EQ((*file)->read_at(100, buffer).value(), 0u);
  ASSERT_TRUE((*file)->truncate(3));
  EXPECT_EQ(read_file(*disk_, path("a")).value(), "hel");
}

TEST_P(DiskTest, WritesThroughWhateverOffsetAndSize) {
  auto file = disk_->open(path("log"), OpenMode::create);
  ASSERT_TRUE((*file)->allocate(1 << 20));
  std::string expected(1 << 20, '\0');
  char next = 'a';
  const auto write = [&](uint64_t offset, size_t size) {
    const std::string bytes(size, next++);
    ASSERT_TRUE((*file)->write_through(offset, bytes)) << offset << " " << size;
    expected.replace(offset, size, bytes);
    ASSERT_EQ(read_file(*disk_, path("log")).value(), expected) << offset << " " << size;
  };
  write(0, 4096);
  write(4096, 64 << 10);
  write(4096, 200 << 10);
  write(4096, 4096);          // again
  write(5000, 100);           // not aligned: through the page cache
  write(8192, 1000);
  write((1 << 20) - 4096, 4096);
  write(1 << 20, 8192);  // the file grows
  write((1 << 20) + 8192, 0);
  EXPECT_EQ((*file)->size().value(), (1u << 20) + 8192);
}

TEST_P(DiskTest, OneHolderOfALock) {
  auto first = disk_->lock(path("lock"));
  ASSERT_TRUE(first);
  EXPECT_EQ(disk_->lock(path("lock")).error().reason, "FileLocked");
  first->reset();
  EXPECT_TRUE(disk_->lock(path("lock")));
  EXPECT_EQ(disk_->lock(path("no/folder")).error().reason, "FileNotFound");
}

TEST_P(DiskTest, AllocatedSpaceReadsAsZero) {
  auto file = disk_->open(path("a"), OpenMode::create);
  ASSERT_TRUE((*file)->write_at(0, "x"));
  ASSERT_TRUE((*file)->allocate(1 << 20));
  EXPECT_EQ((*file)->size().value(), 1u << 20);
  ASSERT_TRUE((*file)->allocate(10));
  EXPECT_EQ((*file)->size().value(), 1u << 20);
  char buffer[2] = {1, 1};
  EXPECT_EQ((*file)->read_at(0, buffer).value(), 2u);
  EXPECT_EQ(buffer[0], 'x');
  EXPECT_EQ(buffer[1], 0);
}

TEST_P(DiskTest, OpenModes) {
  EXPECT_EQ(disk_->open(path("a"), OpenMode::read).error().reason, "FileNotFound");
  EXPECT_EQ(disk_->open(path("a"), OpenMode::write).error().reason, "FileNotFound");
  EXPECT_EQ(disk_->open(path("none/a"), OpenMode::create).error().reason, "FileNotFound");
  ASSERT_TRUE(disk_->open(path("a"), OpenMode::create));
  EXPECT_EQ(disk_->open(path("a"), OpenMode::create_new).error().reason, "FileExists");
  auto reader = disk_->open(path("a"), OpenMode::read);
  ASSERT_TRUE(reader);
  EXPECT_FALSE((*reader)->write_at(0, "x"));
}

TEST_P(DiskTest, FoldersListRenameRemove) {
  ASSERT_TRUE(disk_->make_directories(path("x/y/z")));
  ASSERT_TRUE(disk_->make_directories(path("x/y/z")));
  ASSERT_TRUE(write_file_atomic(*disk_, path("x/b"), "1"));
  ASSERT_TRUE(write_file_atomic(*disk_, path("x/a"), "2"));
  EXPECT_EQ(disk_->list(path("x")).value(), (std::vector<std::string>{"a", "b", "y"}));
  ASSERT_TRUE(disk_->rename(path("x/a"), path("x/b")));
  EXPECT_EQ(read_file(*disk_, path("x/b")).value(), "2");
  EXPECT_FALSE(disk_->exists(path("x/a")));
  EXPECT_FALSE(disk_->remove(path("x/y")));
  EXPECT_TRUE(disk_->remove(path("x/y/z")));
  EXPECT_TRUE(disk_->remove(path("x/b")));
  EXPECT_EQ(disk_->remove(path("x/b")).error().reason, "FileNotFound");
  EXPECT_EQ(disk_->list(path("none")).error().reason, "FileNotFound");
  EXPECT_TRUE(disk_->sync_directory(path("x")));
  EXPECT_TRUE(disk_->free_bytes(root_));
}

TEST_P(DiskTest, ARemovedFileStaysReadableWhileOpen) {
  auto file = disk_->open(path("a"), OpenMode::create);
  ASSERT_TRUE((*file)->write_at(0, "still here"));
  ASSERT_TRUE(disk_->remove(path("a")));
  char buffer[10];
  EXPECT_EQ((*file)->read_at(0, buffer).value(), 10u);
}

TEST_P(DiskTest, ReadFileHasALimit) {
  ASSERT_TRUE(write_file_atomic(*disk_, path("big"), std::string(1000, 'x')));
  EXPECT_EQ(read_file(*disk_, path("big"), 999).error().reason, "FileTooLarge");
  EXPECT_EQ(read_file(*disk_, path("big"), 1000)->size(), 1000u);
}

INSTANTIATE_TEST_SUITE_P(Both, DiskTest,
                         testing::Values(Case{"linux", false}, Case{"memory", true}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Disk, ReadsFilesThatSayTheyAreEmpty) {
  const auto disk = make_disk();
  const auto text = read_file(*disk, "/proc/self/status");
  ASSERT_TRUE(text);
  EXPECT_TRUE(text->contains("Pid:"));
}

TEST(MemoryDisk, WhatWasWrittenThroughSurvivesACrash) {
  MemoryDisk disk;
  auto file = disk.open("/log", OpenMode::create);
  ASSERT_TRUE(disk.sync_directory("/"));
  ASSERT_TRUE((*file)->write_through(0, "durable"));
  disk.crash_losing_everything();
  EXPECT_EQ(read_file(disk, "/log").value(), "durable");
}

TEST(MemoryDisk, SyncedBytesAndNamesSurviveACrash) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    MemoryDisk disk(seed);
    auto file = disk.open("/log", OpenMode::create);
    ASSERT_TRUE((*file)->write_at(0, "durable"));
    ASSERT_TRUE((*file)->sync());
    ASSERT_TRUE(disk.sync_directory("/"));
    ASSERT_TRUE((*file)->write_at(7, std::string(2000, 'y')));
    disk.crash();
    const std::string text = read_file(disk, "/log").value();
    EXPECT_TRUE(text.starts_with("durable"));
    EXPECT_FALSE((*file)->write_at(0, "x"));
  }
}

TEST(MemoryDisk, UnsyncedWritesMayBeTorn) {
  bool lost = false, kept = false, torn = false;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    MemoryDisk disk(seed);
    auto file = disk.open("/log", OpenMode::create);
    ASSERT_TRUE((*file)->allocate(4096));
    ASSERT_TRUE((*file)->sync());
    ASSERT_TRUE(disk.sync_directory("/"));
    ASSERT_TRUE((*file)->write_at(0, std::string(4096, 'y')));
    disk.crash();
    const std::string text = read_file(disk, "/log").value();
    const auto written = std::count(text.begin(), text.end(), 'y');
    lost |= written == 0;
    kept |= written == 4096;
    torn |= written != 0 && written != 4096;
    EXPECT_EQ(written % 512, 0);
  }
  EXPECT_TRUE(lost && kept && torn);
}

TEST(MemoryDisk, NamesNeedTheirFolderSynced) {
  MemoryDisk disk;
  {
    auto file = disk.open("/a", OpenMode::create).value();
    ASSERT_TRUE(file->sync());
  }
  disk.crash_losing_everything();
  EXPECT_FALSE(disk.exists("/a"));
  ASSERT_TRUE(write_file_atomic(disk, "/a", "old"));
  {
    auto file = disk.open("/b", OpenMode::create).value();
    ASSERT_TRUE(file->write_at(0, "new"));
    ASSERT_TRUE(file->sync());
  }
  ASSERT_TRUE(disk.rename("/b", "/a"));
  disk.crash_losing_everything();
  EXPECT_EQ(read_file(disk, "/a").value(), "old");
}

TEST(MemoryDisk, AtomicWriteLeavesOldOrNew) {
  for (int stop = 0; stop < 6; ++stop)
    for (uint64_t seed = 0; seed < 20; ++seed) {
      MemoryDisk disk(seed);
      ASSERT_TRUE(write_file_atomic(disk, "/a", "old"));
      int step = 0;
      disk.set_fault([&](auto, const auto&) -> std::optional<Error> {
        if (step++ == stop) return Error{.message = "injected"};
        return std::nullopt;
      });
      const bool acknowledged = bool(write_file_atomic(disk, "/a", "new"));
      disk.set_fault(nullptr);
      disk.crash();
      const std::string text = read_file(disk, "/a").value();
      if (acknowledged) {
        EXPECT_EQ(text, "new");
      } else {
        EXPECT_TRUE(text == "old" || text == "new") << text;
      }
    }
}

TEST(MemoryDisk, AFailedSyncIsNotHealedByTheNextOne) {
  MemoryDisk disk;
  auto file = disk.open("/log", OpenMode::create).value();
  ASSERT_TRUE(disk.sync_directory("/"));
  ASSERT_TRUE(file->write_at(0, "lost"));
  bool broken = true;
  disk.set_fault([&](MemoryDisk::Operation operation, const auto&) -> std::optional<Error> {
    if (operation == MemoryDisk::Operation::sync && std::exchange(broken, false))
      return Error{.message = "injected"};
    return std::nullopt;
  });
  EXPECT_FALSE(file->sync());
  EXPECT_TRUE(file->sync());
  disk.crash_losing_everything();
  EXPECT_EQ(read_file(disk, "/log").value(), "");
}

TEST(MemoryDisk, RunsOutOfSpace) {
  MemoryDisk disk;
  disk.set_capacity(1000);
  auto file = disk.open("/log", OpenMode::create).value();
  ASSERT_TRUE(file->write_at(0, std::string(900, 'x')));
  const auto full = file->write_at(900, std::string(200, 'x'));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().reason, "DiskFull");
  EXPECT_EQ(file->allocate(2000).error().reason, "DiskFull");
  EXPECT_TRUE(file->write_at(0, "inside"));
}

}  // namespace
}  // namespace dure::os
