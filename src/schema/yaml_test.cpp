#include "schema/yaml.h"

#include <gtest/gtest.h>

#include "kinds/kinds.h"

namespace dure::schema {
namespace {

std::string json(std::string_view yaml) {
  auto text = yaml_to_json(yaml);
  return text ? *text : text.error().message;
}

std::string yaml(const char* text) {
  auto document = decode_json(SharedBytes(std::string(text)));
  std::string out;
  encode_yaml(*document, out);
  return out;
}

TEST(YamlRead, ScalarsOfYaml11) {
  EXPECT_EQ(json("[yes, No, on, OFF, y, n, true, False]"),
            "[true,false,true,false,true,false,true,false]");
  EXPECT_EQ(json("[~, null, '', \"null\", Null]"), R"([null,null,"","null",null])");
  EXPECT_EQ(json("[0644, 0o17, 0x1F, 0b11, 1_000, +5, -7, 08]"), "[420,15,31,3,1000,5,-7,8]");
  EXPECT_EQ(json("[1.5, 1e3, .5, 1., 12e-1]"), "[1.5,1000,0.5,1,1.2]");
  EXPECT_EQ(json("[2024-01-01, 2024-01-01T00:00:00Z, 1.2.3, 10Mi, -, v1, 1:30]"),
            R"(["2024-01-01","2024-01-01T00:00:00Z","1.2.3","10Mi","-","v1","1:30"])");
  EXPECT_EQ(json("[!!str 1, !!str yes, '1', \"yes\"]"), R"(["1","yes","1","yes"])");
  EXPECT_EQ(json("{1: a, yes: b, 1.5: c}"), R"({"1":"a","true":"b","1.5":"c"})");
  EXPECT_EQ(json("[9223372036854775808]"), "[9223372036854775808]");
  EXPECT_EQ(json(""), "null");
  EXPECT_EQ(json("# nothing\n"), "null");
}

TEST(YamlRead, BlocksAnchorsAndMerges) {
  EXPECT_EQ(json("a: |\n  x\n  y\nb: >-\n  x\n  y\n"), R"({"a":"x\ny\n","b":"x y"})");
  EXPECT_EQ(json("a: &p {x: 1, z: 2}\nb: *p\nc:\n  <<: *p\n  z: 3\n"),
            R"({"a":{"x":1,"z":2},"b":{"x":1,"z":2},"c":{"z":3,"x":1}})");
  EXPECT_EQ(json("a: &p {x: 1}\nb: &q {x: 2, z: 3}\nc:\n  <<: [*p, *q]\n"),
            R"({"a":{"x":1},"b":{"x":2,"z":3},"c":{"x":1,"z":3}})");
}

TEST(YamlRead, Refusals) {
  EXPECT_EQ(json("a: b: c"),
            "error converting YAML to JSON: yaml: line 1: mapping values are not allowed in this "
            "context");
  EXPECT_EQ(json("a: *x"), "error converting YAML to JSON: yaml: unknown anchor 'x' referenced");
  EXPECT_NE(json("a: [1").find("error converting YAML to JSON"), std::string::npos);
  EXPECT_NE(json("\ta: 1").find("found character that cannot start any token"), std::string::npos);
  EXPECT_NE(json("[.nan]").find("unsupported value"), std::string::npos);
  EXPECT_NE(json(std::string(20'000, '[')).find("exceeded max depth"), std::string::npos);
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int k = 0; k < 9; ++k) bomb += "," + last;
    bomb += "]\n";
  }
  EXPECT_EQ(json(bomb),
            "error converting YAML to JSON: yaml: document contains excessive aliasing");
}

TEST(YamlRead, DuplicatesAreForTheStrictToSee) {
  const Type& type = *kinds::find_type("v1", "ConfigMap");
  EXPECT_TRUE(decode_yaml("data: {a: x}\ndata: {b: z}\n", type));
  auto strict =
      decode_yaml("data: {a: x}\nfoo: 1\ndata: {b: z}\n", type, {.strictness = Strictness::strict});
  ASSERT_FALSE(strict);
  EXPECT_NE(strict.error().message.find("unknown field \"foo\", duplicate field \"data\""),
            std::string::npos);
}

TEST(YamlRead, Streams) {
  const auto parts =
      split_yaml("---\na: 1\n---\n# only a comment\n---\nb: 2\n--- \nc: |\n  x\n  --- y\n---\n");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(json(parts[0]), R"({"a":1})");
  EXPECT_EQ(json(parts[1]), R"({"b":2})");
  EXPECT_EQ(json(parts[2]), R"({"c":"x\n--- y\n"})");
  EXPECT_TRUE(split_yaml("").empty());
  EXPECT_EQ(split_yaml("a: 1").size(), 1u);
  EXPECT_EQ(split_yaml("a: 1\n---\nb: 2").size(), 2u);
}

TEST(YamlWrite, QuotesWhatWouldReadAsSomethingElse) {
  EXPECT_EQ(
      yaml(
          R"({"b":["1","yes","","null","1.5","0x1","2024-01-01","x","a: b","- a","#x","true","~","12:30:45","*a"]})"),
      "b:\n- \"1\"\n- \"yes\"\n- \"\"\n- \"null\"\n- \"1.5\"\n- \"0x1\"\n- \"2024-01-01\"\n- x\n- "
      "'a: b'\n- '- a'\n- '#x'\n- \"true\"\n- "
      "\"~\"\n- \"12:30:45\"\n- '*a'\n");
  EXPECT_EQ(yaml(R"({"z":{},"a":[],"m":{"x":null,"t":true,"n":1.5,"i":-3}})"),
            "a: []\nm:\n  i: -3\n  \"n\": 1.5\n  t: true\n  x: null\nz: {}\n");
  EXPECT_EQ(yaml(R"({"s":"a\nb\n","t":"a\nb"})"), "s: |\n  a\n  b\nt: |-\n  a\n  b\n");
  EXPECT_EQ(yaml(R"({"k10":1,"k9":2,"k":3,"K":4})"), "K: 4\nk: 3\nk9: 2\nk10: 1\n");
  EXPECT_EQ(yaml("[[1,[2]],{\"a\":[{\"b\":1,\"c\":2}]}]"),
            "- - 1\n  - - 2\n- a:\n  - b: 1\n    c: 2\n");
}

TEST(YamlWrite, WhatIsWrittenReadsBackTheSame) {
  const char* values[] = {"",
                          " ",
                          "a ",
                          " a",
                          "\\n",
                          "\\t",
                          "a\\u0000b",
                          "é",
                          "yes",
                          "0",
                          "-",
                          "- x",
                          "a:",
                          ":a",
                          "? x",
                          "&a",
                          "!a",
                          "%a",
                          "@a",
                          "`a",
                          "|",
                          ">",
                          "a #b",
                          "a\\n",
                          "\\na",
                          "\\n\\n",
                          "'",
                          "\\\"",
                          "{",
                          "[",
                          ",",
                          "---",
                          "1e3",
                          "0o7",
                          "1_0",
                          "<<",
                          "=",
                          "NaN",
                          ".inf",
                          "\\u2028",
                          "\\ud83d\\ude00"};
  for (const char* value : values) {
    const std::string text = std::string("{\"k\":\"") + value + "\",\"l\":[\"" + value + "\"]}";
    auto first = decode_json(SharedBytes(text));
    ASSERT_TRUE(first) << text;
    std::string out;
    encode_yaml(*first, out);
    auto second = decode_yaml(out);
    ASSERT_TRUE(second) << out << second.error().message;
    EXPECT_TRUE(equal(first->root(), second->root())) << text << "\n" << out;
  }
}

}  // namespace
}  // namespace dure::schema
