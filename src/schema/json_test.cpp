#include "schema/json.h"

#include <gtest/gtest.h>

#include "kinds/kinds.h"
#include "schema/values.h"

namespace dure::schema {
namespace {

const Type& type(const char* api_version, const char* kind) {
  return *kinds::find_type(api_version, kind);
}

std::string error_of(const char* text, const char* api_version = "apps/v1",
                     const char* kind = "Deployment", Strictness strictness = Strictness::ignore) {
  auto document = decode_json(SharedBytes(std::string(text)), type(api_version, kind),
                              {.strictness = strictness});
  return document ? "decoded" : document.error().message;
}

std::string again(const char* text, const char* api_version, const char* kind) {
  auto document = decode_json(SharedBytes(std::string(text)), type(api_version, kind));
  return document ? to_json(*document) : document.error().message;
}

std::string untyped(std::string text) {
  auto document = decode_json(SharedBytes(std::move(text)));
  return document ? to_json(*document) : document.error().message;
}

TEST(JsonErrors, MismatchesNameTheFieldAsGoDoes) {
  const std::string in =
      "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal ";
  EXPECT_EQ(error_of(R"({"spec":{"replicas":"three"}})"),
            in + "string into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(error_of(R"({"spec":{"replicas":1.5}})"),
            in + "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(
      error_of(R"({"spec":{"replicas":3000000000}})"),
      in + "number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(error_of(R"({"spec":{"template":{"spec":{"containers":{}}}}})"),
            in + "object into Go struct field PodSpec.spec.template.spec.containers of type "
                 "[]v1.Container");
  EXPECT_EQ(
      error_of(R"({"spec":{"template":{"spec":{"containers":["x"]}}}})"),
      in +
          "string into Go struct field PodSpec.spec.template.spec.containers of type v1.Container");
  EXPECT_EQ(error_of(R"({"metadata":{"labels":{"a":1}}})"),
            in + "number into Go struct field ObjectMeta.metadata.labels of type string");
  EXPECT_EQ(error_of(R"([])"), in + "array into Go value of type v1.Deployment");
  // The text is read to its end: broken syntax later is what is told.
  EXPECT_EQ(error_of(R"({"spec":{"replicas":"x"}}})"),
            "invalid character '}' after top-level value");
}

TEST(JsonErrors, SpecialValues) {
  const std::string in = "Pod in version \"v1\" cannot be handled as a Pod: ";
  EXPECT_EQ(
      error_of(R"({"spec":{"containers":[{"resources":{"limits":{"cpu":"much"}}}]}})", "v1", "Pod"),
      in + "quantities must match the regular expression "
           "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_EQ(error_of(R"({"metadata":{"creationTimestamp":"yesterday"}})", "v1", "Pod"),
            in + "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse "
                 "\"yesterday\" as \"2006\"");
  EXPECT_EQ(error_of(R"({"data":{"k":"a!"}})", "v1", "Secret"),
            "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input "
            "byte 1");
  EXPECT_EQ(error_of(R"({"spec":{"ports":[{"targetPort":true}]}})", "v1", "Service"),
            "Service in version \"v1\" cannot be handled as a Service: json: cannot unmarshal bool "
            "into Go struct field "
            "ServicePort.spec.ports.targetPort of type int32");
}

TEST(JsonErrors, Syntax) {
  EXPECT_EQ(error_of(""), "unexpected end of JSON input");
  EXPECT_EQ(error_of("{"), "unexpected end of JSON input");
  EXPECT_EQ(error_of("nope"), "invalid character 'o' in literal null (expecting 'u')");
  EXPECT_EQ(error_of("{'a':1}"),
            "invalid character '\\'' looking for beginning of object key string");
  EXPECT_EQ(error_of(R"({"a" 1})"), "invalid character '1' after object key");
  EXPECT_EQ(error_of(R"({"a":1 "b":2})"), "invalid character '\"' after object key:value pair");
  EXPECT_EQ(error_of(R"({"a":[1 2]})"), "invalid character '2' after array element");
  EXPECT_EQ(error_of(R"({"a":01})"), "invalid character '1' after object key:value pair");
  EXPECT_EQ(error_of(R"({"a":1.})"),
            "invalid character '}' after decimal point in numeric literal");
  EXPECT_EQ(error_of(R"({"a":-})"), "invalid character '}' in numeric literal");
  EXPECT_EQ(error_of(R"({"a":1e})"), "invalid character '}' in exponent of numeric literal");
  EXPECT_EQ(error_of("{\"a\":\"\n\"}"), "invalid character '\\n' in string literal");
  EXPECT_EQ(error_of(R"({"a":"\x"})"), "invalid character 'x' in string escape code");
  EXPECT_EQ(error_of(R"({"a":"\u12G4"})"),
            "invalid character 'G' in \\u hexadecimal character escape");
  EXPECT_EQ(error_of("{} x"), "invalid character 'x' after top-level value");
  EXPECT_EQ(error_of(R"({"a":])"), "invalid character ']' looking for beginning of value");
}

TEST(JsonErrors, DepthIsBounded) {
  const std::string deep(100'000, '[');
  EXPECT_EQ(untyped(deep), "exceeded max depth");
  EXPECT_EQ(error_of(("{\"x\":" + deep).c_str()), "exceeded max depth");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(untyped(objects), "exceeded max depth");
}

TEST(JsonStrict, NamesUnknownAndDuplicateMembersWithTheirPaths) {
  const char* text =
      R"({"spec":{"foo":1,"replicas":1,"replicas":2,"template":{"spec":{"containers":[{"name":"a"},)"
      R"({"bar":{"x":[]},"name":"b"}]}}},)"
      R"("metadata":{"labels":{"a":"1","a":"2"}}})";
  EXPECT_EQ(
      error_of(text, "apps/v1", "Deployment", Strictness::strict),
      "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: "
      "unknown field \"spec.foo\", "
      "duplicate field \"spec.replicas\", unknown field \"spec.template.spec.containers[1].bar\", "
      "duplicate field \"metadata.labels.a\"");
  std::vector<std::string> problems;
  auto document = decode_json(SharedBytes(std::string(text)), type("apps/v1", "Deployment"),
                              {.strictness = Strictness::warn, .problems = &problems});
  ASSERT_TRUE(document);
  EXPECT_EQ(problems.size(), 4u);
  EXPECT_EQ(problems[0], "unknown field \"spec.foo\"");
  EXPECT_EQ(document->root()->find("spec", "replicas")->integer(), 2);  // the last one counts
  EXPECT_EQ(document->root()->find("metadata", "labels", "a")->string(), "2");
  EXPECT_EQ(document->root()->find("spec", "foo"), nullptr);
}

TEST(Json, NullsAndZerosMeanAbsence) {
  EXPECT_EQ(
      again(
          R"({"metadata":{"name":null,"labels":null},"spec":{"hostNetwork":false,"nodeName":"",)"
          R"("containers":null}})",
          "v1", "Pod"),
      R"({"metadata":{},"spec":{"containers":null},"status":{}})");
  EXPECT_EQ(again(R"({"spec":{"containers":[]}})", "v1", "Pod"),
            R"({"metadata":{},"spec":{"containers":[]},"status":{}})");
  EXPECT_EQ(
      again(R"({"spec":{"replicas":0}})", "apps/v1", "Deployment"),
      R"({"metadata":{},"spec":{"replicas":0,"selector":null,"template":{"metadata":{},)"
      R"("spec":{"containers":null}},"strategy":{}},)"
      R"("status":{}})");
  EXPECT_EQ(again(R"({"args":[null]})", "v1", "Pod"),
            R"({"metadata":{},"spec":{"containers":null},"status":{}})");
  EXPECT_EQ(again(R"({"data":{"a":null,"b":"x"}})", "v1", "ConfigMap"),
            R"({"metadata":{},"data":{"a":"","b":"x"}})");
}

TEST(Json, SpecialValuesBecomeCanonical) {
  EXPECT_EQ(
      again(
          R"({"metadata":{"creationTimestamp":"2024-01-01T02:00:00+01:00"},"spec":{"hard":{"cpu":"1000m",)"
          R"("memory":1024}}})",
          "v1", "ResourceQuota"),
      R"({"metadata":{"creationTimestamp":"2024-01-01T01:00:00Z"},"spec":{"hard":{"cpu":"1","memory":"1024"}},)"
      R"("status":{}})");
  EXPECT_EQ(
      again(R"({"spec":{"renewTime":"2024-01-01T00:00:00Z"}})", "coordination.k8s.io/v1", "Lease"),
      R"({"metadata":{},"spec":{"renewTime":"2024-01-01T00:00:00.000000Z"}})");
  EXPECT_EQ(again(R"({"data":{"a":"YQ==\n","b":"YR=="}})", "v1", "Secret"),
            R"({"metadata":{},"data":{"a":"YQ==","b":"YQ=="}})");
}

// Long plain stretches are copied in blocks: every byte at every place around them.
TEST(Json, EscapesWhereverTheByteStands) {
  for (int byte = 0; byte < 0x80; ++byte) {
    std::string alone;
    append_json_string(alone, std::string(1, static_cast<char>(byte)));
    const std::string escaped = alone.substr(1, alone.size() - 2);
    for (size_t at = 0; at < 50; ++at) {
      std::string text(50, 'x'), out;
      text[at] = static_cast<char>(byte);
      append_json_string(out, text);
      ASSERT_EQ(out, '"' + std::string(at, 'x') + escaped + std::string(49 - at, 'x') + '"') << byte << " at " << at;
    }
  }
}

TEST(Json, TextAsGoReadsAndWritesIt) {
  EXPECT_EQ(
      untyped(R"(["\u00e9\n\/<>&\u2028","\ud83d\ude00","\ud83d","\ude00x"])"),
      "[\"\xC3\xA9\\n/"
      "\\u003c\\u003e\\u0026\\u2028\",\"\xF0\x9F\x98\x80\",\"\xEF\xBF\xBD\",\"\xEF\xBF\xBDx\"]");
  EXPECT_EQ(untyped("[\"a\xFF\xC3z\"]"), "[\"a\xEF\xBF\xBD\xEF\xBF\xBDz\"]");
  EXPECT_EQ(untyped(R"(["\b\f\r\t\u0001\u007f"])"), "[\"\\b\\f\\r\\t\\u0001\x7F\"]");
  EXPECT_EQ(untyped(R"({"a\u0062":1})"), R"({"ab":1})");
}

TEST(Json, Numbers) {
  EXPECT_EQ(untyped("[0,-0,1,-1,9223372036854775807,-9223372036854775808]"),
            "[0,0,1,-1,9223372036854775807,-9223372036854775808]");
  EXPECT_EQ(untyped("[1.0,0.5,1e3,1e21,1e-7,123456789.125,9223372036854775808]"),
            "[1,0.5,1000,1e+21,1e-7,123456789.125,9223372036854775808]");
  EXPECT_EQ(untyped("[-0e6,-0.0]"), "[0,0]");
  EXPECT_EQ(untyped("[1e999]"),
            "json: cannot unmarshal number 1e999 into Go value of type float64");
}

TEST(Json, RawObjectsKeepTheirOrder) {
  EXPECT_EQ(again(R"({"data":{"z":1,"a":{"y":[],"b":null}},"revision":1})", "apps/v1",
                  "ControllerRevision"),
            R"({"metadata":{},"data":{"z":1,"a":{"y":[],"b":null}},"revision":1})");
}

TEST(Json, SchemasOfCustomResources) {
  const char* text =
      R"({"metadata":{"name":"x"},"spec":{"group":"g","names":{"plural":"ps","kind":"P"},"scope":"Namespaced",)"
      R"("versions":[{"name":"v1",)"
      R"("served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","default":{"a":1},)"
      R"("enum":["x",1],"properties":{"p":{)"
      R"("type":"array","items":{"type":"string"}},"q":{"additionalProperties":true,"type":"object"},)"
      R"("r":{"additionalProperties":{"type":)"
      R"("integer"},"type":"object"},"x-y":{"x-kubernetes-preserve-unknown-fields":true}}}}}]},)"
      R"("status":{"conditions":null,"acceptedNames":)"
      R"({"plural":"","kind":""},"storedVersions":null}})";
  const std::string out = again(text, "apiextensions.k8s.io/v1", "CustomResourceDefinition");
  EXPECT_NE(out.find(R"("items":{"type":"string"})"), out.npos) << out;
  EXPECT_NE(out.find(R"("additionalProperties":true)"), out.npos);
  EXPECT_NE(out.find(R"("additionalProperties":{"type":"integer"})"), out.npos);
  EXPECT_NE(out.find(R"("default":{"a":1})"), out.npos);
  EXPECT_EQ(again(out.c_str(), "apiextensions.k8s.io/v1", "CustomResourceDefinition"), out);
}

TEST(Json, RetypeReadsAnUntypedTreeAsAKind) {
  auto plain =
      decode_json(SharedBytes(std::string(R"({"spec":{"replicas":2},"kind":"Deployment"})")));
  auto typed = retype(plain->root(), type("apps/v1", "Deployment"));
  ASSERT_TRUE(typed);
  EXPECT_EQ(typed->root()->first()->key(), "kind");
}

}  // namespace
}  // namespace dure::schema
