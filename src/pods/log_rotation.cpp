#include "pods/log_rotation.h"

#include "base/log.h"
#include "cri/views/cri_v1.h"
#include "pods/log_reader.h"

namespace dure::pods {

namespace v1 = cri::v1;

namespace {

// 20060102-150405 of the time, so that names sort by age.
std::string stamp(WallTime time) {
  std::string out;
  for (char c : format_time(time)) {
    if (c == 'T')
      out += '-';
    else if (c >= '0' && c <= '9')
      out += c;
  }
  return out;
}

}  // namespace

LogRotation::LogRotation(PodsParts& parts, const PodsOptions& options) : parts_(parts), options_(options) {}

void LogRotation::run(const std::vector<RuntimePodPtr>& pods) {
  for (const RuntimePodPtr& pod : pods)
    for (const RuntimeContainer& container : pod->containers) {
      if (container.state != ContainerState::running || container.log_path.empty()) continue;
      auto file = parts_.disk.open(container.log_path, os::OpenMode::read);
      if (!file) continue;
      auto size = (*file)->size();
      if (!size || *size <= options_.log_bytes_max) continue;
      if (Status rotated = rotate(container); !rotated)
        log(LogLevel::warn, "pods", "rotate log", {{"path", container.log_path}, {"error", rotated.error().message}});
    }
}

Status LogRotation::rotate(const RuntimeContainer& container) {
  std::vector<std::string> old = rotated_logs(parts_.disk, container.log_path);
  const size_t keep =
      static_cast<size_t>(std::max(options_.log_files_max - 2, 0));  // beside the present one and the one moved now
  for (size_t i = 0; i + keep < old.size(); ++i) (void)parts_.disk.remove(old[i]);
  const std::string aside = container.log_path + "." + stamp(parts_.executor.wall_now());
  DURE_CHECK(parts_.disk.rename(container.log_path, aside));
  schema::Document request(v1::ReopenContainerLogRequest::type());
  v1::ReopenContainerLogRequest(request).set_container_id(container.id);
  if (auto answer = parts_.runtime.call("ReopenContainerLog", request, 30s); !answer) {
    (void)parts_.disk.rename(aside, container.log_path);  // the runtime writes on into the same file
    return fail(std::move(answer).error());
  }
  return {};
}

}  // namespace dure::pods
