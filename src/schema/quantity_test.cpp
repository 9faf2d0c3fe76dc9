#include "schema/quantity.h"

#include <gtest/gtest.h>

namespace dure::schema {
namespace {

std::string canonical(const char* text) {
  auto q = Quantity::parse(text);
  return q ? q->text() : q.error().message;
}

TEST(Quantity, CanonicalForms) {
  const std::pair<const char*, const char*> cases[] = {
      {"0", "0"},
      {"0Ki", "0"},
      {"1", "1"},
      {"-1", "-1"},
      {"+1", "1"},
      {"100m", "100m"},
      {"1000m", "1"},
      {"1500m", "1500m"},
      {"0.5", "500m"},
      {".5", "500m"},
      {"1.", "1"},
      {"0.1", "100m"},
      {"1Ki", "1Ki"},
      {"1024", "1024"},
      {"1024Ki", "1Mi"},
      {"1536Mi", "1536Mi"},
      {"1.5Gi", "1536Mi"},
      {"0.5Ki", "512"},
      {"1000", "1k"},
      {"1000k", "1M"},
      {"1e3", "1e3"},
      {"1E3", "1e3"},
      {"12e6", "12e6"},
      {"1500e-3", "1500e-3"},
      {"1E", "1E"},
      {"100n", "100n"},
      {"1u", "1u"},
      {"0.0000000001", "1n"},
      {"-0.0000000001", "-1n"},
      {"1.0000000001", "1000000001n"},
      {"9223372036854775807", "9223372036854775807"},
      {"9223372036854775808", "9223372036854775807"},
      {"100E", "9223372036854775807"},
      {"8Ei", "9223372036854775807"},
      {"128974848", "128974848"},
      {"129e6", "129e6"},
      {"129M", "129M"},
      {"123Mi", "123Mi"},
      {"1.1Ki", "1126400m"},
      {"007", "7"},
      {"1023Ki", "1023Ki"},
      {"2000Ki", "2000Ki"},
      {"0.001Ki", "1024m"},
      {"64Mi", "64Mi"},
      {"1000Mi", "1000Mi"}};
  for (const auto& [in, out] : cases) EXPECT_EQ(canonical(in), out) << in;
}

TEST(Quantity, Refusals) {
  const char* format =
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
  for (const char* text : {"", "abc", "1 ", " 1", "1.1.1", "1Ki5x", "--1"})
    EXPECT_EQ(canonical(text), format) << text;
  for (const char* text : {"1mi", "1ki", "1KiB", "1e", "1K", "1iK", "1Mi3"})
    EXPECT_TRUE(canonical(text) == "unable to parse quantity's suffix" || canonical(text) == format)
        << text << " " << canonical(text);
}

TEST(Quantity, ValuesRoundAwayFromZero) {
  EXPECT_EQ(Quantity::read("1500m").value(), 2);
  EXPECT_EQ(Quantity::read("-1500m").value(), -2);
  EXPECT_EQ(Quantity::read("1500m").milli(), 1500);
  EXPECT_EQ(Quantity::read("1u").milli(), 1);
  EXPECT_EQ(Quantity::read("2Gi").value(), int64_t{2} << 30);
  EXPECT_EQ(Quantity::read("9E").milli(), INT64_MAX);
}

TEST(Quantity, ArithmeticAndOrder) {
  EXPECT_EQ((Quantity::read("1Gi") + Quantity::read("512Mi")).text(), "1536Mi");
  EXPECT_EQ((Quantity() + Quantity::read("1Gi")).text(), "1Gi");
  EXPECT_EQ((Quantity::read("1") - Quantity::read("100m")).text(), "900m");
  EXPECT_EQ((Quantity::read("0.1") + Quantity::read("0.2")), Quantity::read("300m"));
  EXPECT_LT(Quantity::read("999m"), Quantity::read("1"));
  EXPECT_EQ(Quantity::read("1Ki"), Quantity::of(1024));
  EXPECT_EQ(Quantity::of_milli(250).text(), "250m");
  EXPECT_EQ(Quantity::read("-5").sign(), -1);
}

TEST(Quantity, CanonicalFormsAreFixedPoints) {
  uint64_t seed = 12345;
  const char* suffixes[] = {"",   "n",  "u",  "m",  "k",   "M",   "G", "T",
                            "Ki", "Mi", "Gi", "e3", "e-3", "e-9", "E6"};
  for (int i = 0; i < 20000; ++i) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    std::string text = std::to_string((seed >> 33) % 100000);
    if (seed & 1) text += "." + std::to_string((seed >> 20) % 1000);
    text += suffixes[(seed >> 50) % std::size(suffixes)];
    auto first = Quantity::parse(text);
    ASSERT_TRUE(first) << text;
    auto second = Quantity::parse(first->text());
    ASSERT_TRUE(second) << text << " " << first->text();
    EXPECT_EQ(*first, *second) << text;
    EXPECT_EQ(first->text(), second->text()) << text;
  }
}

}  // namespace
}  // namespace dure::schema
