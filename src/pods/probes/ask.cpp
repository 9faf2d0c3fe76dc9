#include <fmt/format.h>

#include "base/text.h"
#include "pods/hooks.h"
#include "pods/probes/prober.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::HTTPHeader;
using kinds::core_v1::Probe;

namespace {

constexpr size_t text_max = 10 << 10;

ProbeAnswer ask_exec(PodsParts& parts, const Probe& probe, const std::string& container_id, Duration timeout) {
  std::vector<std::string> command;
  for (std::string_view word : probe.exec().command()) command.emplace_back(word);
  auto answer = exec_sync(parts.runtime, container_id, command, timeout);
  if (!answer) {
    if (answer.error().is("DeadlineExceeded"))
      return {false, fmt::format("command timed out: \"{}\" timed out after {}", join(command, " "),
                                 format_duration(timeout))};
    return {false, answer.error().message};
  }
  if (answer->output.size() > text_max) answer->output.resize(text_max);
  return {answer->exit_code == 0, std::move(answer->output)};
}

}  // namespace

ProbeAnswer ask(PodsParts& parts, const Container& container, const Probe& probe, const std::string& container_id,
                const std::string& pod_ip) {
  const Duration timeout = std::chrono::seconds(std::max<int64_t>(probe.timeoutSeconds(), 1));
  if (probe.has_exec()) return ask_exec(parts, probe, container_id, timeout);
  if (probe.has_httpGet()) {
    const auto get = probe.httpGet();
    ProbeNet::Http request;
    request.scheme = get.scheme().empty() ? "http" : lower(get.scheme());
    request.host = get.host().empty() ? pod_ip : std::string(get.host());
    request.path = get.path().empty() ? "/" : std::string(get.path());
    if (!request.path.starts_with('/')) request.path.insert(0, "/");
    request.port = port_number(container, get.port());
    for (HTTPHeader header : get.httpHeaders()) request.headers.emplace_back(header.name(), header.value());
    return parts.probe_net.http(request, timeout);
  }
  if (probe.has_tcpSocket()) {
    const auto socket = probe.tcpSocket();
    const std::string host = socket.host().empty() ? pod_ip : std::string(socket.host());
    return parts.probe_net.tcp(host, port_number(container, socket.port()), timeout);
  }
  if (probe.has_grpc())
    return parts.probe_net.grpc(pod_ip, static_cast<int>(probe.grpc().port()), std::string(probe.grpc().service()),
                                timeout);
  return {false, "missing probe handler"};
}

}  // namespace dure::pods
