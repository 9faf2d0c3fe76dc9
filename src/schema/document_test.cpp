#include <gtest/gtest.h>

#include "kinds/views/apps_v1.h"
#include "kinds/views/core_v1.h"
#include "schema/json.h"

namespace dure::schema {
namespace {

using namespace kinds;

TEST(Document, MembersTakeTheirCanonicalPlace) {
  Document document(core_v1::Pod::type());
  core_v1::Pod pod(document);
  pod.mutable_spec().set_nodeName("n1");
  pod.mutable_metadata().set_labels("b", "2");
  pod.mutable_metadata().set_labels("a", "1");
  pod.mutable_metadata().set_name("x");
  core_v1::Container container = pod.mutable_spec().add_containers();
  container.set_image("i");
  container.set_name("c");
  EXPECT_EQ(
      to_json(document),
      R"({"metadata":{"name":"x","labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"c","image":"i",)"
      R"("resources":{}}],)"
      R"("nodeName":"n1"},"status":{}})");
  EXPECT_EQ(pod.metadata().labels().get("b"), "2");
  EXPECT_FALSE(pod.spec().has_hostNetwork());
  EXPECT_EQ(pod.spec().containers().size(), 1u);
}

TEST(Document, ViewsOfNothingReadAsZero) {
  const core_v1::Pod pod;
  EXPECT_TRUE(pod.empty());
  EXPECT_EQ(pod.spec().securityContext().runAsUser(), 0);
  EXPECT_EQ(pod.metadata().labels().size(), 0u);
  for ([[maybe_unused]] auto container : pod.spec().containers()) FAIL();
}

TEST(Document, KeywordsAndSpecialRows) {
  Document document(core_v1::Service::type());
  core_v1::Service service(document);
  service.mutable_metadata().set_namespace("default");
  auto port = service.mutable_spec().add_ports();
  port.set_port(80);
  port.set_targetPort("http");
  EXPECT_EQ(service.metadata().namespace_(), "default");
  EXPECT_EQ(port.targetPort()->string(), "http");
  port.set_targetPort(8080);
  EXPECT_EQ(port.targetPort()->integer(), 8080);
  service.mutable_metadata().clear_namespace();
  EXPECT_FALSE(service.metadata().has_namespace());
}

TEST(Document, CloneIsDeepAndKeepsOrderAndRows) {
  auto first =
      decode_json(SharedBytes(std::string(R"({"spec":{"replicas":3},"metadata":{"name":"d"}})")),
                  apps_v1::Deployment::type());
  ASSERT_TRUE(first);
  Document copy = first->clone();
  apps_v1::Deployment(copy).mutable_spec().set_replicas(5);
  EXPECT_EQ(apps_v1::Deployment(*first).spec().replicas(), 3);
  EXPECT_EQ(copy.root()->find("spec", "replicas")->field(),
            apps_v1::DeploymentSpec::type().find("replicas"));
  EXPECT_FALSE(equal(first->root(), copy.root()));
}

TEST(Document, EraseFromEveryPlace) {
  Document document;
  for (const char* key : {"a", "b", "c"}) document.set(document.member(document.root(), key), key);
  EXPECT_TRUE(document.erase(document.root(), "b"));
  EXPECT_TRUE(document.erase(document.root(), "c"));
  EXPECT_FALSE(document.erase(document.root(), "c"));
  document.set(document.member(document.root(), "d"), 1);
  EXPECT_EQ(to_json(document), R"({"a":"a","d":1})");
  EXPECT_TRUE(document.erase(document.root(), "a"));
  EXPECT_TRUE(document.erase(document.root(), "d"));
  EXPECT_EQ(document.root()->first(), nullptr);
  EXPECT_EQ(document.root()->last(), nullptr);
}

TEST(Document, CopyFromInsideItself) {
  auto document = decode_json(SharedBytes(std::string(R"({"a":{"b":{"c":1}}})")));
  ASSERT_TRUE(document);
  document->copy(document->root()->find("a"), document->root()->find("a", "b"));
  EXPECT_EQ(to_json(*document), R"({"a":{"c":1}})");
}

TEST(Document, CopyBetweenTypesFindsTheRowsOfTheTarget) {
  auto untyped = decode_json(SharedBytes(
      std::string(R"({"image":"i","name":"c","ports":[{"protocol":"TCP","containerPort":1}]})")));
  ASSERT_TRUE(untyped);
  Document pod(core_v1::Pod::type());
  auto container = core_v1::Pod(pod).mutable_spec().add_containers();
  pod.copy(container.mutable_node(), untyped->root());
  EXPECT_EQ(
      to_json(pod),
      R"({"metadata":{},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":1,)"
      R"("protocol":"TCP"}],)"
      R"("resources":{}}]},"status":{}})");
}

TEST(Document, AbsentEqualsWhatTheRowWritesAnyway) {
  const auto pod = [](const char* text) {
    return std::move(*decode_json(SharedBytes(std::string(text)), core_v1::Pod::type()));
  };
  Document a = pod(R"({"metadata":{"name":"x"}})"),
           b = pod(R"({"metadata":{"name":"x"},"status":{},"spec":{"hostNetwork":false}})");
  EXPECT_TRUE(equal(a.root(), b.root()));
  core_v1::Pod(b).mutable_status();
  core_v1::Pod(b).mutable_spec().set_hostNetwork(false);
  EXPECT_TRUE(equal(a.root(), b.root()));
  core_v1::Pod(b).mutable_spec().mutable_securityContext();  // a pointer: {} is not absence
  EXPECT_FALSE(equal(a.root(), b.root()));
}

TEST(Document, UntypedMapsOfAnySizeLoseDuplicatesButKeepTheirOrder) {
  std::string text = "{";
  for (int i = 100; i-- > 0;)
    text += "\"k" + std::to_string(i % 70) + "\":" + std::to_string(i) + (i ? "," : "}");
  auto document = decode_json(SharedBytes(text));
  ASSERT_TRUE(document);
  EXPECT_EQ(document->root()->size(), 70u);
  EXPECT_EQ(document->root()->find("k5")->integer(), 5);
}

}  // namespace
}  // namespace dure::schema
