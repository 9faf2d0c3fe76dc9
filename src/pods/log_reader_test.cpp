#include "pods/log_reader.h"

#include <gtest/gtest.h>

namespace dure::pods {
namespace {

struct Log {
  os::MemoryDisk disk;
  const std::string path = "/logs/c/0.log";
  uint64_t size = 0;

  Log() { disk.make_directories("/logs/c").value(); }
  void write(const std::string& text) {
    auto file = disk.open(path, os::OpenMode::create);
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->write_at(size, text));
    size += text.size();
  }
  void line(const std::string& text, const char* stream = "stdout", const char* tag = "F", int second = 0) {
    write("2024-01-01T00:00:" + std::string(second < 10 ? "0" : "") + std::to_string(second) + ".000000000Z " + stream + " " + tag + " " + text + "\n");
  }
  void rotate(const std::string& stamp) {
    ASSERT_TRUE(disk.rename(path, path + "." + stamp));
    size = 0;
  }
  std::string read(LogOptions options = {}) {
    LogReader reader(disk, path, options);
    return all(reader);
  }
  static std::string all(LogReader& reader) {
    std::string out;
    while (true) {
      auto piece = reader.next(100);
      if (!piece) return "error: " + piece.error().message;
      if (piece->empty()) return out;
      out += *piece;
    }
  }
};

TEST(LogLine, IsTakenApart) {
  const auto line = parse_log_line("2024-01-01T00:00:00.5Z stderr P some text");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->stream, "stderr");
  EXPECT_TRUE(line->partial);
  EXPECT_EQ(line->text, "some text");
  EXPECT_TRUE(parse_log_line("2024-01-01T00:00:00.5Z stdout F "));
  EXPECT_TRUE(parse_log_line("2024-01-01T00:00:00.5Z stdout F"));
  for (const char* bad : {"", "x", "2024-01-01T00:00:00.5Z stdin F x", "2024-01-01T00:00:00.5Z stdout Q x", "not a time at all stdout F x"})
    EXPECT_FALSE(parse_log_line(bad)) << bad;
}

TEST(LogReader, GivesBackWhatWasWritten) {
  Log log;
  log.line("one");
  log.line("half", "stdout", "P");
  log.line(" whole");
  log.write("garbage\n");
  log.line("three", "stderr");
  EXPECT_EQ(log.read(), "one\nhalf whole\nthree\n");
  EXPECT_EQ(log.read({.timestamps = true}),
            "2024-01-01T00:00:00.000000000Z one\n2024-01-01T00:00:00.000000000Z half whole\n2024-01-01T00:00:00.000000000Z three\n");
  EXPECT_EQ(log.read({.stream = "Stderr"}), "three\n");
  EXPECT_EQ(log.read({.limit_bytes = 6}), "one\nha");
}

TEST(LogReader, TailsAndSince) {
  Log log;
  for (int i = 0; i < 50; ++i) log.line("line " + std::to_string(i), "stdout", "F", i);
  EXPECT_EQ(log.read({.tail_lines = 2}), "line 48\nline 49\n");
  EXPECT_EQ(log.read({.tail_lines = 0}), "");
  EXPECT_EQ(log.read({.since = parse_time("2024-01-01T00:00:48Z")}), "line 48\nline 49\n");
  LogOptions many;
  many.tail_lines = 1000;
  EXPECT_EQ(log.read(many).substr(0, 7), "line 0\n");
}

TEST(LogReader, TailReachesIntoRotatedFiles) {
  Log log;
  for (int i = 0; i < 5; ++i) log.line("old " + std::to_string(i));
  log.rotate("20240101-000000");
  log.line("new 0");
  EXPECT_EQ(log.read({.tail_lines = 3}), "old 3\nold 4\nnew 0\n");
  EXPECT_EQ(log.read({.tail_lines = 1}), "new 0\n");
  EXPECT_EQ(log.read(), "old 0\nold 1\nold 2\nold 3\nold 4\nnew 0\n");
}

TEST(LogReader, LongTailsCrossBlocks) {
  Log log;
  const std::string wide(5000, 'x');
  for (int i = 0; i < 100; ++i) log.line(std::to_string(i) + wide);
  const std::string text = log.read({.tail_lines = 40});
  EXPECT_EQ(text.substr(0, 3), "60x");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 40);
}

TEST(LogReader, FollowsOverRotationsAndHalfLines) {
  Log log;
  log.line("a");
  LogReader reader(log.disk, log.path, {});
  EXPECT_EQ(Log::all(reader), "a\n");
  log.write("2024-01-01T00:00:00.000000000Z stdout F b");
  EXPECT_EQ(Log::all(reader), "");
  log.write("\n");
  EXPECT_EQ(Log::all(reader), "b\n");
  log.line("c");
  log.rotate("20240101-000000");
  EXPECT_EQ(Log::all(reader), "c\n") << "the rest of the file that was moved aside";
  log.line("d");
  EXPECT_EQ(Log::all(reader), "d\n");
  log.rotate("20240101-000001");
  log.line("e");
  EXPECT_EQ(Log::all(reader), "e\n");
}

TEST(LogReader, FollowsALogThatIsNotThereYet) {
  Log log;
  LogReader reader(log.disk, log.path, {});
  EXPECT_EQ(Log::all(reader), "");
  log.line("first");
  EXPECT_EQ(Log::all(reader), "first\n");
}

}  // namespace
}  // namespace dure::pods
