// What becomes of the URL when a request goes on to a node.
#include <gtest/gtest.h>

#include "kinds/hooks/write.h"
#include "kinds/views/core_v1.h"

namespace dure::kinds {
namespace {

TEST(NodeCalls, APathOfANodeStaysOnePath) {
  schema::Document document(core_v1::Node::type());
  core_v1::Node(document).mutable_metadata().set_name("n1");
  const WriteHooks* hooks = write_hooks("", "nodes");
  const auto target = [&](std::string_view path) {
    const auto call = hooks->node_call(document, "proxy", path, {{"a b", "c&d"}});
    return call ? call->target : call.error().message;
  };
  EXPECT_EQ(target(""), "/?a%20b=c%26d");
  EXPECT_EQ(target("/metrics/cadvisor"), "/metrics/cadvisor?a%20b=c%26d");
  // Decoded from %0d%0a and the like: the end of the request, and another one behind it.
  EXPECT_EQ(target("/logs/ HTTP/1.1\r\n\r\nPOST /exec?x"),
            "/logs/%20HTTP/1.1%0D%0A%0D%0APOST%20/exec%3Fx?a%20b=c%26d");
}

}  // namespace
}  // namespace dure::kinds
