#include "pods/hooks.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cri/views/cri_v1.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::ContainerPort;
using kinds::core_v1::HTTPHeader;
using kinds::core_v1::LifecycleHandler;
namespace v1 = cri::v1;

Result<ExecAnswer> exec_sync(cri::Runtime& runtime, const std::string& container_id,
                             const std::vector<std::string>& command, Duration timeout) {
  schema::Document request(v1::ExecSyncRequest::type());
  v1::ExecSyncRequest out(request);
  out.set_container_id(container_id);
  for (const std::string& word : command) out.add_cmd(word);
  const int64_t seconds = std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(timeout).count());
  out.set_timeout(seconds);
  DURE_TRY(schema::Document answer, runtime.call("ExecSync", request, timeout + 5s));
  const v1::ExecSyncResponse response(answer);
  ExecAnswer result;
  result.exit_code = static_cast<int>(response.exit_code());
  result.output = base64_decode(response.stdout()).value_or("") + base64_decode(response.stderr()).value_or("");
  return result;
}

int port_number(const Container& container, const schema::Node* port) {
  if (!port) return 0;
  if (!port->is_string()) return static_cast<int>(port->integer());
  for (ContainerPort p : container.ports())
    if (p.name() == port->string()) return static_cast<int>(p.containerPort());
  return static_cast<int>(parse_int(port->string()).value_or(0));
}

Status run_handler(PodsParts& parts, const Container& container, const LifecycleHandler& handler,
                   const HookTarget& target, Duration timeout) {
  if (handler.has_exec()) {
    std::vector<std::string> command;
    for (std::string_view word : handler.exec().command()) command.emplace_back(word);
    DURE_TRY(ExecAnswer answer, exec_sync(parts.runtime, target.container_id, command, timeout));
    if (answer.exit_code != 0)
      return fail(internal(
          fmt::format("command '{}' exited with {}: {}", fmt::join(command, " "), answer.exit_code, answer.output)));
    return {};
  }
  if (handler.has_httpGet()) {
    const auto get = handler.httpGet();
    ProbeNet::Http request;
    request.scheme = get.scheme().empty() ? "http" : lower(get.scheme());
    request.host = get.host().empty() ? target.pod_ip : std::string(get.host());
    request.path = get.path().empty() ? "/" : std::string(get.path());
    request.port = port_number(container, get.port());
    for (HTTPHeader header : get.httpHeaders()) request.headers.emplace_back(header.name(), header.value());
    const ProbeAnswer answer = parts.probe_net.http(request, timeout);
    if (!answer.ok) return fail(internal(answer.text));
  }
  return {};
}

}  // namespace dure::pods
