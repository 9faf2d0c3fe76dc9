#include "bootstrap/finding.h"

#include <gtest/gtest.h>

namespace dure::bootstrap {
namespace {

using Severity = Finding::Severity;

TEST(Finding, WorstComesFirstAndEachNamesItsFix) {
  const std::vector<Finding> findings = {
      {"Slow", Severity::note, "the disk is slow", ""},
      {"Sleepy", Severity::warn, "this machine sleeps", "dure check --fix"},
      {"ClockOff", Severity::refuse, "the clock is 3 h off", "timedatectl set-ntp true"}};
  EXPECT_EQ(findings_text(findings),
            "error: the clock is 3 h off [ClockOff]\n"
            "try:   timedatectl set-ntp true\n"
            "warning: this machine sleeps [Sleepy]\n"
            "try:   dure check --fix\n"
            "note: the disk is slow [Slow]\n");
}

TEST(Finding, OnlyARefusalIsAnError) {
  EXPECT_FALSE(refusal({{"Sleepy", Severity::warn, "this machine sleeps", "dure check --fix"}}));
  const auto error = refusal({{"Sleepy", Severity::warn, "x", "y"}, {"ClockOff", Severity::refuse, "off", "set it"}});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->reason, "ClockOff");
  EXPECT_EQ(error->remedy, "set it");
}

}  // namespace
}  // namespace dure::bootstrap
