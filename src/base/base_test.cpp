#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/result.h"
#include "base/text.h"
#include "base/time.h"

namespace dure {
namespace {

TEST(Text, Base64RoundTripsEveryLength) {
  std::string bytes;
  for (int i = 0; i < 70; ++i) {
    EXPECT_EQ(*base64_decode(base64_encode(bytes)), bytes);
    EXPECT_EQ(*base64url_decode(base64url_encode(bytes)), bytes);
    bytes += static_cast<char>(i * 37);
  }
  EXPECT_FALSE(base64_decode("a"));
  EXPECT_FALSE(base64_decode("ab!="));
}

TEST(Text, PercentAndNumbers) {
  EXPECT_EQ(percent_decode("a%20b+c", true), "a b c");
  EXPECT_EQ(percent_decode("%zz%"), "%zz%");
  EXPECT_EQ(percent_encode("a b/ü"), "a%20b%2F%C3%BC");
  EXPECT_EQ(parse_int("-12"), -12);
  EXPECT_EQ(parse_int("+12"), 12);
  EXPECT_FALSE(parse_int("12x"));
  EXPECT_FALSE(parse_int("+-12"));
  EXPECT_FALSE(parse_int(""));
  EXPECT_EQ(split("a,,b", ',').size(), 3u);
}

TEST(Time, FormatsAndParsesRfc3339) {
  const auto time = parse_time("2024-02-29T23:59:59.5+01:00");
  ASSERT_TRUE(time);
  EXPECT_EQ(format_time(*time), "2024-02-29T22:59:59Z");
  EXPECT_EQ(format_micro_time(*time), "2024-02-29T22:59:59.500000Z");
  EXPECT_EQ(format_time(WallTime{-1'000'000'000}), "1969-12-31T23:59:59Z");
  EXPECT_FALSE(parse_time("2023-02-29T00:00:00Z"));
  EXPECT_FALSE(parse_time("2024-01-01"));
}

TEST(Time, GoDurations) {
  EXPECT_EQ(*parse_duration("1m30s"), 90s);
  EXPECT_EQ(*parse_duration("1.5h"), 90min);
  EXPECT_EQ(*parse_duration("250ms"), 250ms);
  EXPECT_FALSE(parse_duration("5"));
  EXPECT_FALSE(parse_duration("5x"));
  EXPECT_EQ(format_duration(90s), "1m30s");
  EXPECT_EQ(format_duration(3600s), "1h0m0s");
}

TEST(Time, HumanDurationAsKubectlPrintsIt) {
  EXPECT_EQ(human_duration(119s), "119s");
  EXPECT_EQ(human_duration(125s), "2m5s");
  EXPECT_EQ(human_duration(3h + 5min), "3h5m");
  EXPECT_EQ(human_duration(50h), "2d2h");
  EXPECT_EQ(human_duration(-5s), "<invalid>");
}

TEST(Log, QuotesValuesThatNeedIt) {
  std::string seen;
  set_log_sink([&](LogLevel, std::string_view line) { seen = line; });
  log(LogLevel::warn, "base", "it happened", {{"a", "x y"}, {"b", "1"}});
  EXPECT_EQ(seen, "warn  base       it happened a=\"x y\" b=1");
  log(LogLevel::warn, "base", "it happened", {{"a", "\x1b[2Jx\r"}});
  EXPECT_EQ(seen, "warn  base       it happened a=\"\\x1b[2Jx\\x0d\"");
  set_log_sink(nullptr);
}

TEST(Metric, TextHasOneHeaderPerName) {
  Metric one(Metric::Kind::counter, "dure_test_total", "a=\"1\"");
  Metric two(Metric::Kind::counter, "dure_test_total", "a=\"2\"");
  one.add(3);
  EXPECT_EQ(metrics_text(),
            "# TYPE dure_test_total counter\ndure_test_total{a=\"1\"} 3\ndure_test_total{a=\"2\"} 0\n");
}

TEST(Error, SaysWhatAndWhy) {
  EXPECT_EQ(not_found("pods", "x").message, "pods \"x\" not found");
  EXPECT_EQ(from_errno("open /x", 2).message, "open /x: No such file or directory");
}

}  // namespace
}  // namespace dure
