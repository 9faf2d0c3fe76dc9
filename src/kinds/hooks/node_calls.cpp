// How the streaming subresources of Pods and Nodes read as requests to the kubelet API of a node.
#include <algorithm>

#include "base/text.h"
#include "kinds/hooks/write_rows.h"
#include "kinds/views/core_v1.h"

namespace dure::kinds::write {

using core_v1::Pod;

namespace {

std::string_view value_of(const QueryList& query, std::string_view name) {
  for (const auto& [key, value] : query)
    if (key == name) return value;
  return {};
}

bool is_on(std::string_view text) { return text == "true" || text == "1"; }

std::string with_query(std::string path, const QueryList& query) {
  char separator = '?';
  for (const auto& [key, value] : query) {
    path += separator + percent_encode(key) + "=" + percent_encode(value);
    separator = '&';
  }
  return path;
}

std::vector<std::string> container_names(const core_v1::PodSpec& spec) {
  std::vector<std::string> names;
  for (const auto c : spec.containers()) names.emplace_back(c.name());
  for (const auto c : spec.initContainers()) names.emplace_back(c.name());
  for (const auto c : spec.ephemeralContainers()) names.emplace_back(c.name());
  return names;
}

Result<std::string> container_of(const Pod& pod, std::string_view asked) {
  const std::vector<std::string> names = container_names(pod.spec());
  const std::string pod_name(pod.metadata().name());
  if (asked.empty()) {
    asked = pod.metadata().annotations().get("kubectl.kubernetes.io/default-container");
    if (asked.empty() && pod.spec().containers().size() == 1) asked = pod.spec().containers().front().name();
    if (asked.empty())
      return fail(bad_request("a container name must be specified for pod " + pod_name +
                              ", choose one of: [" + join(names, " ") + "]"));
  }
  if (std::find(names.begin(), names.end(), asked) == names.end())
    return fail(bad_request("container " + std::string(asked) + " is not valid for pod " + pod_name));
  return std::string(asked);
}

std::string pod_path(std::string_view verb, const Pod& pod) {
  return "/" + std::string(verb) + "/" + std::string(pod.metadata().namespace_()) + "/" +
         std::string(pod.metadata().name());
}

Result<NodeCall> log_call(const Pod& pod, const QueryList& query) {
  DURE_TRY(const std::string container, container_of(pod, value_of(query, "container")));
  QueryList passed;
  for (const std::string_view name :
       {"follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"})
    if (const std::string_view value = value_of(query, name); !value.empty())
      passed.emplace_back(name, value);
  for (const std::string_view name : {"tailLines", "limitBytes", "sinceSeconds"}) {
    const std::string_view value = value_of(query, name);
    if (value.empty()) continue;
    const auto number = parse_int(value);
    if (!number || *number < (name == "tailLines" ? 0 : 1))
      return fail(invalid_fields({{"FieldValueInvalid",
                                   "Invalid value: " + std::string(value) + ": must be greater than " +
                                       (name == "tailLines" ? "or equal to 0" : "0"),
                                   std::string(name)}}));
  }
  return NodeCall{std::string(pod.spec().nodeName()),
                  with_query(pod_path("containerLogs", pod) + "/" + container, passed)};
}

Result<NodeCall> exec_call(const Pod& pod, std::string_view verb, const QueryList& query) {
  DURE_TRY(const std::string container, container_of(pod, value_of(query, "container")));
  QueryList passed;
  bool any_stream = false;
  for (const auto& [from, to] : {std::pair<std::string_view, std::string_view>{"stdin", "input"},
                                 {"stdout", "output"},
                                 {"stderr", "error"}}) {
    if (!is_on(value_of(query, from))) continue;
    passed.emplace_back(to, "1");
    any_stream = true;
  }
  if (!any_stream) return fail(bad_request("you must specify at least 1 of stdin, stdout, stderr"));
  if (is_on(value_of(query, "tty"))) passed.emplace_back("tty", "1");
  if (verb == "exec") {
    for (const auto& [key, value] : query)
      if (key == "command") passed.emplace_back(key, value);
    if (value_of(query, "command").empty())
      return fail(bad_request("you must specify at least one command for the container"));
  }
  return NodeCall{std::string(pod.spec().nodeName()),
                  with_query(pod_path(verb, pod) + "/" + container, passed)};
}

}  // namespace

Result<NodeCall> pod_node_call(const schema::Document& object, std::string_view subresource, std::string_view,
                               const QueryList& query) {
  const Pod pod(object);
  if (subresource == "proxy") return fail(unsupported("pods/proxy is not built yet"));
  if (pod.spec().nodeName().empty())
    return fail(bad_request("pod " + std::string(pod.metadata().name()) + " does not have a host assigned"));
  if (subresource == "log") return log_call(pod, query);
  if (subresource == "exec" || subresource == "attach") return exec_call(pod, subresource, query);
  QueryList ports;
  for (const auto& [key, value] : query)
    if (key == "ports") ports.emplace_back("port", value);
  // Each takes two channels, and the number of a channel is one byte.
  if (ports.size() > 127) return fail(bad_request("at most 127 ports at a time"));
  return NodeCall{std::string(pod.spec().nodeName()), with_query(pod_path("portForward", pod), ports)};
}

namespace {

// The path came decoded: what is no plain character is encoded again, or it would end the request line that it becomes.
std::string encoded_path(std::string_view path) {
  std::vector<std::string> parts;
  for (const std::string_view part : split(path, '/')) parts.push_back(percent_encode(part));
  return join(parts, "/");
}

}  // namespace

Result<NodeCall> node_node_call(const schema::Document& object, std::string_view, std::string_view sub_path,
                                const QueryList& query) {
  const core_v1::Node node(object);
  return NodeCall{std::string(node.metadata().name()),
                  with_query(sub_path.empty() ? "/" : encoded_path(sub_path), query)};
}

}  // namespace dure::kinds::write
