#include "schema/patch.h"

#include <gtest/gtest.h>

#include "kinds/views/apps_v1.h"
#include "kinds/views/core_v1.h"
#include "schema/json.h"

namespace dure::schema {
namespace {

Document parse(std::string_view text) { return std::move(*decode_json(SharedBytes(std::string(text)))); }

std::string text_or_error(const Result<Document>& result) {
  return result ? to_json(*result) : "error: " + result.error().reason + ": " + result.error().message;
}

std::string strategic(std::string_view pod, std::string_view patch) {
  return text_or_error(apply_strategic_patch(parse(pod), kinds::core_v1::Pod::schema_type(), patch));
}

TEST(MergePatch, Rfc7396) {
  EXPECT_EQ(text_or_error(apply_merge_patch(parse(R"({"a":{"b":1,"c":2},"l":[1]})"), R"({"a":{"b":null,"d":{"e":null,"f":3}},"l":[2,3]})")),
            R"({"a":{"c":2,"d":{"f":3}},"l":[2,3]})");
  EXPECT_EQ(apply_merge_patch(parse("{}"), "[1]").error().reason, "BadRequest");
}

TEST(JsonPatch, EveryOperation) {
  EXPECT_EQ(text_or_error(apply_json_patch(parse(R"({"l":["a","c"],"m":{"x~/y":1}})"),
                                           R"([{"op":"add","path":"/l/1","value":"b"},{"op":"add","path":"/l/-","value":"d"},
                                              {"op":"test","path":"/m/x~0~1y","value":1},{"op":"replace","path":"/m/x~0~1y","value":2},
                                              {"op":"copy","from":"/l/0","path":"/first"},{"op":"move","from":"/m","path":"/n"},
                                              {"op":"remove","path":"/l/3"}])")),
            R"({"l":["a","b","c"],"first":"a","n":{"x~/y":2}})");
}

TEST(JsonPatch, WhatDoesNotApplyIsInvalidAndWhatIsNoPatchIsBad) {
  EXPECT_EQ(apply_json_patch(parse("{}"), R"([{"op":"remove","path":"/x"}])").error().code, 422);
  EXPECT_EQ(apply_json_patch(parse(R"({"a":1})"), R"([{"op":"test","path":"/a","value":2}])").error().code, 422);
  EXPECT_EQ(apply_json_patch(parse("{}"), R"([{"op":"add","path":"/l/5/x","value":1}])").error().code, 422);
  EXPECT_EQ(apply_json_patch(parse("{}"), R"({"op":"add"})").error().code, 400);
  EXPECT_EQ(apply_json_patch(parse("{}"), R"([{"op":"grow","path":"/x","value":1}])").error().code, 400);
  EXPECT_EQ(apply_json_patch(parse("{}"), R"([{"op":"add","path":"x","value":1}])").error().code, 400);
}

TEST(StrategicPatch, ListsOfMapsMergeByTheirKey) {
  EXPECT_EQ(strategic(R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]}})",
                      R"({"spec":{"containers":[{"name":"b","image":"2"},{"name":"c","image":"3"}]}})"),
            R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"},{"name":"c","image":"3"}]}})");
}

TEST(StrategicPatch, DeleteAndReplaceDirectives) {
  EXPECT_EQ(strategic(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})", R"({"spec":{"containers":[{"$patch":"delete","name":"a"}]}})"),
            R"({"spec":{"containers":[{"name":"b"}]}})");
  EXPECT_EQ(strategic(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})", R"({"spec":{"containers":[{"name":"z"},{"$patch":"replace"}]}})"),
            R"({"spec":{"containers":[{"name":"z"}]}})");
  EXPECT_EQ(strategic(R"({"metadata":{"labels":{"a":"1"}}})", R"({"metadata":{"labels":{"$patch":"replace","b":"2"}}})"),
            R"({"metadata":{"labels":{"b":"2"}}})");
}

TEST(StrategicPatch, PrimitiveListsAndOrder) {
  EXPECT_EQ(strategic(R"({"metadata":{"finalizers":["a","b"]}})", R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["c"]}})"),
            R"({"metadata":{"finalizers":["b","c"]}})");
  EXPECT_EQ(strategic(R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
                      R"({"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"b"},{"name":"a"}],"containers":[{"name":"c"}]}})"),
            R"({"spec":{"containers":[{"name":"c"},{"name":"b"},{"name":"a"}]}})");
}

TEST(StrategicPatch, RetainKeysAndNulls) {
  const auto patched = apply_strategic_patch(
      parse(R"({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}})"), kinds::apps_v1::Deployment::schema_type(),
      R"({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}})");
  EXPECT_EQ(text_or_error(patched), R"({"spec":{"strategy":{"type":"Recreate"}}})");
  EXPECT_EQ(strategic(R"({"spec":{"nodeName":"x","hostname":"y"}})", R"({"spec":{"nodeName":null}})"), R"({"spec":{"hostname":"y"}})");
}

TEST(StrategicPatch, AtomicListsAreReplaced) {
  EXPECT_EQ(strategic(R"({"spec":{"containers":[{"name":"a","args":["1","2"]}]}})", R"({"spec":{"containers":[{"name":"a","args":["3"]}]}})"),
            R"({"spec":{"containers":[{"name":"a","args":["3"]}]}})");
}

TEST(StrategicPatch, AMissingMergeKeyIsNamed) {
  EXPECT_EQ(strategic(R"({"spec":{"containers":[{"name":"a"}]}})", R"({"spec":{"containers":[{"image":"x"}]}})"),
            R"(error: BadRequest: map: {"image":"x"} does not contain declared merge key: name)");
}

}  // namespace
}  // namespace dure::schema
