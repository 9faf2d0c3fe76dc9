// Kinds with one small thing to say: Secret's stringData, a Job's selector, an APIService of this server's own, the
// first phase of volumes and claims.
#include "base/text.h"
#include "kinds/hooks/write_rows.h"
#include "kinds/views/apiregistration_v1.h"
#include "kinds/views/batch_v1.h"
#include "kinds/views/core_v1.h"
#include "schema/validate.h"

namespace dure::kinds::write {

using schema::Document;

Status create_secret(WriteWorld&, Document& object) {
  core_v1::Secret secret(object);
  for (const auto [key, value] : secret.stringData()) secret.set_data(key, base64_encode(value));
  secret.clear_stringData();
  return {};
}

Status update_secret(WriteWorld& world, Document& object, const Document& old) {
  DURE_CHECK(create_secret(world, object));
  if (core_v1::Secret(object).type().empty()) core_v1::Secret(object).set_type(core_v1::Secret(old).type());
  return {};
}

// Unless the user chooses the selector, pods are found by the Job's uid.
Status create_job(WriteWorld&, Document& object) {
  batch_v1::Job job(object);
  if (job.spec().manualSelector()) return {};
  const std::string uid(job.metadata().uid()), name(job.metadata().name());
  auto labels = job.mutable_spec().mutable_template().mutable_metadata();
  labels.set_labels("batch.kubernetes.io/controller-uid", uid);
  labels.set_labels("controller-uid", uid);
  labels.set_labels("batch.kubernetes.io/job-name", name);
  labels.set_labels("job-name", name);
  job.mutable_spec().mutable_selector().set_matchLabels("batch.kubernetes.io/controller-uid", uid);
  return {};
}

Status create_api_service(WriteWorld& world, Document& object) {
  const apiregistration_v1::APIService service(object);
  const std::string required = std::string(service.spec().version()) + "." + std::string(service.spec().group());
  if (service.metadata().name() != required)
    return fail(
        invalid_fields({schema::invalid(schema::Path().child("metadata").child("name"), service.metadata().name(),
                                        "must be `spec.version+\".\"+spec.group`: \"" + required + "\"")}));
  if (service.spec().has_service()) return {};
  const auto available = service.mutable_status().add_conditions();
  available.set_type("Available");
  available.set_status("True");
  available.set_lastTransitionTime(format_time(world.now()));
  available.set_reason("Local");
  available.set_message("Local APIServices are always available");
  return {};
}

Status create_volume(WriteWorld&, Document& object) {
  core_v1::PersistentVolume(object).mutable_status().set_phase("Pending");
  return {};
}

Status create_claim(WriteWorld&, Document& object) {
  core_v1::PersistentVolumeClaim(object).mutable_status().set_phase("Pending");
  return {};
}

}  // namespace dure::kinds::write
