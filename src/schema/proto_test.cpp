#include "schema/proto.h"

#include <gtest/gtest.h>

#include "kinds/kinds.h"
#include "schema/json.h"

namespace dure::schema {
namespace {

const Type& type(const char* api_version, const char* kind) { return *kinds::find_type(api_version, kind); }

std::string through_proto(const char* json, const char* api_version, const char* kind) {
  auto document = decode_json(SharedBytes(std::string(json)), type(api_version, kind));
  if (!document) return document.error().message;
  std::string bytes;
  encode_proto(*document, bytes);
  auto again = decode_proto(SharedBytes(bytes), type(api_version, kind));
  if (!again) return again.error().message;
  std::string twice;
  encode_proto(*again, twice);
  EXPECT_EQ(bytes, twice);
  return to_json(*again);
}

TEST(Proto, KindsKeepEverythingTheyHave) {
  const char* texts[][3] = {
      {R"({"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"data":{"a":"","b":"AAEC"},"type":"Opaque"})",
       "v1", "Secret"},
      {R"({"kind":"Service","apiVersion":"v1","metadata":{"name":"s"},"spec":{"ports":[{"port":80,)"
       R"("targetPort":"http"},{"port":81,"targetPort":0}],"clusterIP":"None"},"status":{"loadBalancer":{}}})",
       "v1", "Service"},
      {R"({"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{},"spec":{"leaseDurationSeconds":40,)"
       R"("renewTime":"2024-01-01T00:00:00.123456Z"}})",
       "coordination.k8s.io/v1", "Lease"},
      {R"({"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{},"spec":{},)"
       R"("status":{"user":{"extra":{"a":["1","2"],"b":[]}}}})",
       "authentication.k8s.io/v1", "TokenReview"},
      {R"({"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"pods",)"
       R"("singularName":"","namespaced":true,"kind":"Pod","verbs":["get","list"]}]})",
       "v1", "APIResourceList"},
      {R"({"kind":"ControllerRevision","apiVersion":"apps/v1","metadata":{},"data":{"z":1,"a":[true,null,"x"]},)"
       R"("revision":-1})",
       "apps/v1", "ControllerRevision"},
  };
  for (const auto& [json, api_version, kind] : texts) EXPECT_EQ(through_proto(json, api_version, kind), json);
}

TEST(Proto, SchemasOfCustomResources) {
  const char* json =
      R"({"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","metadata":{"name":"x"},)"
      R"("spec":{"group":"g","names":{"plural":"ps","kind":"P"},"scope":"Namespaced",)"
      R"("versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object",)"
      R"("default":{"a":1},"maximum":1.5,"enum":["x",1],)"
      R"("properties":{"p":{"type":"array","items":{"type":"string"}},"q":{"type":"object",)"
      R"("additionalProperties":false},"r":{"type":"object","additionalProperties":{"type":"integer"}}},)"
      R"("dependencies":{"a":["b","c"],"d":{"type":"string"}}}}}]},"status":{"conditions":null,)"
      R"("acceptedNames":{"plural":"","kind":""},"storedVersions":null}})";
  auto plain = decode_json(SharedBytes(std::string(json)), type("apiextensions.k8s.io/v1", "CustomResourceDefinition"));
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(through_proto(json, "apiextensions.k8s.io/v1", "CustomResourceDefinition"), to_json(*plain));
}

TEST(Proto, EnvelopeWithoutTypeMetaInTheObjectTakesTheTypes) {
  Document document(type("apps/v1", "Deployment"));
  std::string bytes;
  encode_proto(document, bytes);
  auto envelope = open_envelope(bytes);
  ASSERT_TRUE(envelope);
  EXPECT_EQ(envelope->api_version, "apps/v1");
  EXPECT_EQ(envelope->kind, "Deployment");
}

TEST(Proto, BrokenBytesAreRefused) {
  EXPECT_EQ(open_envelope("{}").error().message,
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  auto pod = decode_json(
      SharedBytes(std::string(R"({"metadata":{"name":"x","labels":{"a":"b"}},"spec":{"containers":[{"name":"c"}]}})")),
      type("v1", "Pod"));
  std::string bytes;
  encode_message(*pod, bytes);
  int refused = 0;
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    refused += decode_message(SharedBytes(bytes.substr(0, cut)), type("v1", "Pod")) ? 0 : 1;
  EXPECT_GT(refused, 0);
  EXPECT_FALSE(decode_message(SharedBytes(std::string("\x0a\xff\xff\xff\xff\x0f", 6)), type("v1", "Pod")));
  EXPECT_FALSE(decode_message(SharedBytes(std::string("\x0b", 1)), type("v1", "Pod")));
}

TEST(Proto, UnknownFieldsAreSkipped) {
  std::string bytes;
  Document document(type("v1", "ConfigMap"));
  document.set(document.member(document.member(document.root(), "data"), "k"), "v");
  encode_message(document, bytes);
  bytes += std::string("\xf8\x07\x01\xfa\x07\x02xy\xf9\x07\0\0\0\0\0\0\0\0", 18);
  auto again = decode_message(SharedBytes(bytes), type("v1", "ConfigMap"));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(to_json(*again), R"({"metadata":{},"data":{"k":"v"}})");
}

TEST(Proto, WatchEventsFrameAnEncodedObject) {
  Document pod(type("v1", "Pod"));
  std::string object, bytes;
  encode_proto(pod, object);
  ASSERT_LT(object.size(), 120u);
  encode_watch_event("ADDED", object, bytes);
  // type = 1, object = 2 {raw = 1}; only the object has the envelope (client-go's raw stream serializer).
  EXPECT_EQ(bytes,
            "\x0a\x05"
            "ADDED\x12" +
                std::string(1, char(object.size() + 2)) + "\x0a" + std::string(1, char(object.size())) + object);
}

}  // namespace
}  // namespace dure::schema
