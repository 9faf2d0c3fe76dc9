// Every published example object survives a round trip through each codec, byte for byte.
#include <gtest/gtest.h>

#include <algorithm>

#include "kinds/golden.h"
#include "kinds/kinds.h"
#include "schema/json.h"
#include "schema/proto.h"
#include "schema/yaml.h"

namespace dure::kinds {
namespace {

using schema::Document;

struct Example {
  std::string name, json;
  const schema::Type* type;
};

// The type by the file's name: "apps.v1.Deployment"; core and the meta kinds go by "core".
const schema::Type* type_of(const std::string& name) {
  const size_t kind_dot = name.rfind('.'), version_dot = name.rfind('.', kind_dot - 1);
  const std::string kind = name.substr(kind_dot + 1),
                    version = name.substr(version_dot + 1, kind_dot - version_dot - 1);
  const std::string group = name.substr(0, version_dot);
  return find_type(group == "core" ? version : group + "/" + version, kind);
}

std::vector<Example> examples() {
  std::vector<Example> out;
  const auto folder = golden::folder();
  if (!folder) return out;
  for (const std::string& name : golden::names(*folder))
    if (const schema::Type* type = type_of(name))
      out.push_back({name, golden::read(*folder / (name + ".json")), type});
  return out;
}

#define SKIP_WITHOUT_EXAMPLES() \
  if (!golden::folder()) GTEST_SKIP() << "no folder of example objects (DURE_GOLDEN)"

TEST(Golden, EveryExampleOfOurGroupsHasAType) {
  SKIP_WITHOUT_EXAMPLES();
  int unknown = 0;
  for (const std::string& name : golden::names(*golden::folder()))
    if (!type_of(name)) {
      ++unknown;
      ADD_FAILURE() << "no type for " << name;
    }
  EXPECT_EQ(unknown, 0);
}

TEST(Golden, JsonRoundTrips) {
  SKIP_WITHOUT_EXAMPLES();
  for (const Example& example : examples()) {
    auto document = schema::decode_json(SharedBytes(example.json), *example.type,
                                        {.strictness = schema::Strictness::strict});
    ASSERT_TRUE(document) << example.name << ": " << document.error().message;
    std::string out;
    schema::encode_json(*document, out, true);
    EXPECT_EQ(out, example.json) << example.name;
  }
}

TEST(Golden, JsonComesOutInCanonicalOrderWhateverTheInputOrder) {
  SKIP_WITHOUT_EXAMPLES();
  for (const Example& example : examples()) {
    auto plain = schema::decode_json(SharedBytes(example.json));
    ASSERT_TRUE(plain) << example.name;
    // Members of every object in reverse.
    struct Reverse {
      static void write(const schema::Node* node, std::string& out) {
        if (!node->is_container()) return schema::encode_json(node, nullptr, out);
        std::vector<const schema::Node*> children;
        for (const auto* child = node->first(); child; child = child->next())
          children.push_back(child);
        const bool object = node->kind() == schema::Kind::object;
        if (object) std::reverse(children.begin(), children.end());
        out += object ? '{' : '[';
        for (size_t i = 0; i < children.size(); ++i) {
          if (i) out += ',';
          if (object) out += "\"" + std::string(children[i]->key()) + "\":";
          write(children[i], out);
        }
        out += object ? '}' : ']';
      }
    };
    std::string reversed;
    Reverse::write(plain->root(), reversed);
    auto document = schema::decode_json(SharedBytes(reversed), *example.type);
    ASSERT_TRUE(document) << example.name;
    auto straight = schema::decode_json(SharedBytes(example.json), *example.type);
    ASSERT_TRUE(straight);
    EXPECT_TRUE(schema::equal(document->root(), straight->root())) << example.name;
    if (example.json.find("example.com/v1") ==
        std::string::npos) {  // raw objects keep their own order
      std::string out;
      schema::encode_json(*document, out, true);
      EXPECT_EQ(out, example.json) << example.name;
    }
  }
}

TEST(Golden, ProtobufRoundTripsAndMeansTheSameAsJson) {
  SKIP_WITHOUT_EXAMPLES();
  for (const Example& example : examples()) {
    const std::string bytes = golden::read(*golden::folder() / (example.name + ".pb"));
    auto document = schema::decode_proto(SharedBytes(bytes), *example.type);
    ASSERT_TRUE(document) << example.name << ": " << document.error().message;
    std::string out;
    schema::encode_proto(*document, out);
    EXPECT_TRUE(out == bytes) << example.name << " protobuf -> protobuf";
    auto from_json = schema::decode_json(SharedBytes(example.json), *example.type);
    ASSERT_TRUE(from_json);
    out.clear();
    schema::encode_proto(*from_json, out);
    EXPECT_TRUE(out == bytes) << example.name << " JSON -> protobuf";
    out.clear();
    schema::encode_json(*document, out, true);
    EXPECT_EQ(out, example.json) << example.name << " protobuf -> JSON";
    EXPECT_TRUE(schema::equal(document->root(), from_json->root())) << example.name;
  }
}

TEST(Golden, YamlRoundTripsAndMeansTheSameAsJson) {
  SKIP_WITHOUT_EXAMPLES();
  for (const Example& example : examples()) {
    const std::string text = golden::read(*golden::folder() / (example.name + ".yaml"));
    auto document =
        schema::decode_yaml(text, *example.type, {.strictness = schema::Strictness::strict});
    ASSERT_TRUE(document) << example.name << ": " << document.error().message;
    std::string out;
    schema::encode_yaml(*document, out);
    EXPECT_EQ(out, text) << example.name;
    auto from_json = schema::decode_json(SharedBytes(example.json), *example.type);
    ASSERT_TRUE(from_json);
    EXPECT_TRUE(schema::equal(document->root(), from_json->root())) << example.name;
  }
}

}  // namespace
}  // namespace dure::kinds
