#include "host/runtime_setup.h"

#include <vector>

#include "cri/views/cri_v1.h"
#include "pods/image_archive.h"
#include "volumes/files.h"

namespace dure::host {

namespace v1 = cri::v1;

namespace {

Status ensure_image(cri::Runtime& runtime, const std::string& endpoint, std::string_view name,
                    std::string (*archive)()) {
  schema::Document question(v1::ImageStatusRequest::schema_type());
  v1::ImageStatusRequest(question).mutable_image().set_image(name);
  DURE_TRY(const schema::Document answer, runtime.call("ImageStatus", question, 10s));
  if (v1::ImageStatusResponse(answer).has_image()) return {};
  return pods::import_image(endpoint, archive());
}

}  // namespace

Status ensure_own_images(cri::Runtime& runtime, const std::string& endpoint) {
  DURE_CHECK(ensure_image(runtime, endpoint, pods::pause_image_name, pods::pause_image_archive));
  return ensure_image(runtime, endpoint, pods::witness_image_name, pods::witness_image_archive);
}

std::vector<std::string> own_images() {
  return {std::string(pods::pause_image_name), std::string(pods::witness_image_name)};
}

Status install_cni_plugin(bootstrap::Journal& journal) {
  DURE_TRY(const std::string program, volumes::read_link("/proc/self/exe"));
  std::vector<std::string> folders;
  for (const char* folder : {"/opt/cni/bin", "/usr/lib/cni"})
    if (volumes::facts_of(folder).kind == volumes::FileKind::directory) folders.push_back(folder);
  if (folders.empty()) {
    folders.push_back("/opt/cni/bin");
    for (const char* made : {"/opt/cni", "/opt/cni/bin"})
      if (volumes::facts_of(made).kind == volumes::FileKind::none)
        DURE_CHECK(journal.record({bootstrap::Change::Kind::folder, made}));
    DURE_CHECK(volumes::make_folders("/opt/cni/bin", 0755));
  }
  for (const std::string& folder : folders)
    for (const char* name : {"dure-cni", "loopback"}) {
      const std::string path = folder + "/" + name;
      const auto there = volumes::read_link(path);
      if (there && *there == program) continue;
      // Somebody else's loopback plugin does just as well.
      if (std::string_view(name) == "loopback" && volumes::facts_of(path, false).kind != volumes::FileKind::none)
        continue;
      DURE_CHECK(journal.record({bootstrap::Change::Kind::file, path}));
      DURE_CHECK(volumes::make_link(program, path + ".new"));
      DURE_CHECK(volumes::rename_over(path + ".new", path));
    }
  return {};
}

}  // namespace dure::host
