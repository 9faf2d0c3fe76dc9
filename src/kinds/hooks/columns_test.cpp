#include "kinds/hooks/columns.h"

#include <gtest/gtest.h>

#include "kinds/kinds.h"
#include "kinds/views/core_v1.h"
#include "schema/json.h"

namespace dure::kinds {
namespace {

std::string cells(const schema::Resource& resource, std::string_view json) {
  const auto document = schema::decode_json(SharedBytes(std::string(json)), *resource.type);
  EXPECT_TRUE(document);
  std::string out;
  schema::append_cells(resource, document->root(), *parse_time("2024-01-01T01:00:00Z"), compute_cell, out);
  return out;
}

TEST(Columns, EveryColumnWithoutAPathIsComputed) {
  for (const schema::Resource* resource : resources())
    for (const schema::Column& column : resource->columns) {
      if (!column.path.empty()) continue;
      const schema::Document empty(*resource->type);
      EXPECT_FALSE(std::holds_alternative<std::nullptr_t>(compute_cell(*resource, column.name, empty.root(), {})))
          << resource->kind << " " << column.name;
    }
}

TEST(Columns, PodAsKubectlShowsIt) {
  EXPECT_EQ(cells(core_v1::pods, R"({"metadata":{"name":"web","creationTimestamp":"2024-01-01T00:00:00Z"},
    "spec":{"nodeName":"n1","containers":[{"name":"a"},{"name":"b"}]},
    "status":{"phase":"Running","podIPs":[{"ip":"10.244.1.2"}],"containerStatuses":[
      {"name":"a","ready":true,"restartCount":2,"state":{"running":{}},"lastState":{"terminated":{"exitCode":1,"finishedAt":"2024-01-01T00:55:00Z"}}},
      {"name":"b","ready":false,"restartCount":0,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}})"),
            R"x(["web","1/2","CrashLoopBackOff","2 (5m ago)","60m","10.244.1.2","n1","\u003cnone\u003e","\u003cnone\u003e"])x");
}

TEST(Columns, PodStates) {
  auto status = [](std::string_view body) {
    const auto document = schema::decode_json(SharedBytes(std::string(body)), *core_v1::pods.type);
    return std::get<std::string>(compute_cell(core_v1::pods, "Status", document->root(), {}));
  };
  EXPECT_EQ(status(R"({"spec":{"initContainers":[{"name":"i"},{"name":"j"}]},"status":{"phase":"Pending","initContainerStatuses":[
    {"name":"i","state":{"terminated":{"exitCode":0}}},{"name":"j","state":{"running":{}}}]}})"), "Init:1/2");
  EXPECT_EQ(status(R"({"metadata":{"deletionTimestamp":"2024-01-01T00:00:00Z"},"status":{"phase":"Running"}})"), "Terminating");
  EXPECT_EQ(status(R"({"status":{"phase":"Succeeded","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}})"),
            "Completed");
  EXPECT_EQ(status(R"({"status":{"phase":"Failed","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":3}}}]}})"), "ExitCode:3");
}

TEST(Columns, ServiceAndNode) {
  EXPECT_EQ(cells(core_v1::services, R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7"],
    "ports":[{"port":80,"nodePort":30080,"protocol":"TCP"},{"port":53,"protocol":"UDP"}],"selector":{"b":"2","a":"1"}}})"),
            R"(["s","NodePort","10.96.0.7","\u003cnone\u003e","80:30080/TCP,53/UDP","\u003cunknown\u003e","a=1,b=2"])");
  const auto document = schema::decode_json(
      SharedBytes(std::string(R"({"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}},"spec":{"unschedulable":true},
      "status":{"conditions":[{"type":"Ready","status":"True"}]}})")), *core_v1::nodes.type);
  EXPECT_EQ(std::get<std::string>(compute_cell(core_v1::nodes, "Status", document->root(), {})), "Ready,SchedulingDisabled");
  EXPECT_EQ(std::get<std::string>(compute_cell(core_v1::nodes, "Roles", document->root(), {})), "control-plane");
}

}  // namespace
}  // namespace dure::kinds
