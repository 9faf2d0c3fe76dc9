#include "kinds/hooks/columns.h"

namespace dure::kinds::columns {
namespace {

using schema::Cell;
using schema::find_path;
using schema::Node;

// Names or images of the containers of a pod template.
std::string of_containers(const Node* template_, std::string_view member) {
  std::vector<std::string> parts;
  const Node* list = template_ ? template_->find("spec", "containers") : nullptr;
  for (const Node* container = list ? list->first() : nullptr; container; container = container->next())
    parts.push_back(text_at(container, member));
  return joined(parts);
}

Cell containers(const Node* o, WallTime) { return of_containers(find_path(o, ".spec.template"), "name"); }
Cell images(const Node* o, WallTime) { return of_containers(find_path(o, ".spec.template"), "image"); }
Cell selector(const Node* o, WallTime) { return selector_text(find_path(o, ".spec.selector")); }
Cell ready_of_wanted(const Node* o, WallTime) {
  return std::to_string(number_at(o, ".status.readyReplicas")) + "/" + std::to_string(number_at(o, ".spec.replicas"));
}
Cell controller_selector(const Node* o, WallTime) { return label_text(find_path(o, ".spec.selector")); }
Cell node_selector(const Node* o, WallTime) { return label_text(find_path(o, ".spec.template.spec.nodeSelector")); }

Cell job_status(const Node* o, WallTime) {
  const auto is = [&](const char* type) { return condition_is(o, type, "True"); };
  if (is("Complete")) return std::string("Complete");
  if (is("Failed")) return std::string("Failed");
  if (find_path(o, ".metadata.deletionTimestamp")) return std::string("Terminating");
  for (const char* type : {"Suspended", "FailureTarget", "SuccessCriteriaMet"})
    if (is(type)) return std::string(type);
  return std::string("Running");
}

Cell job_completions(const Node* o, WallTime) {
  const std::string succeeded = std::to_string(number_at(o, ".status.succeeded"));
  if (find_path(o, ".spec.completions")) return succeeded + "/" + std::to_string(number_at(o, ".spec.completions"));
  const int64_t parallelism = number_at(o, ".spec.parallelism");
  return succeeded + (parallelism > 1 ? "/1 of " + std::to_string(parallelism) : "/1");
}

Cell job_duration(const Node* o, WallTime now) {
  const auto start = parse_time(text_at(o, ".status.startTime")),
             end = parse_time(text_at(o, ".status.completionTime"));
  if (!start) return std::string();
  return human_duration((end ? *end : now) - *start);
}

Cell cron_suspend(const Node* o, WallTime) {
  const Node* suspend = find_path(o, ".spec.suspend");
  return std::string(!suspend ? "<unset>" : suspend->boolean() ? "True" : "False");
}
Cell cron_active(const Node* o, WallTime) {
  const Node* active = find_path(o, ".status.active");
  return static_cast<int64_t>(active ? active->size() : 0);
}
Cell cron_last(const Node* o, WallTime now) {
  const std::string last = text_at(o, ".status.lastScheduleTime");
  return last.empty() ? std::string("<none>") : schema::age(last, now);
}
Cell cron_containers(const Node* o, WallTime) {
  return of_containers(find_path(o, ".spec.jobTemplate.spec.template"), "name");
}
Cell cron_images(const Node* o, WallTime) {
  return of_containers(find_path(o, ".spec.jobTemplate.spec.template"), "image");
}
Cell cron_selector(const Node* o, WallTime) { return selector_text(find_path(o, ".spec.jobTemplate.spec.selector")); }

Cell template_containers(const Node* o, WallTime) { return of_containers(find_path(o, ".template"), "name"); }
Cell template_images(const Node* o, WallTime) { return of_containers(find_path(o, ".template"), "image"); }
Cell template_labels(const Node* o, WallTime) { return label_text(find_path(o, ".template.metadata.labels")); }

Cell revision_controller(const Node* o, WallTime) {
  const Node* owners = find_path(o, ".metadata.ownerReferences");
  for (const Node* owner = owners ? owners->first() : nullptr; owner; owner = owner->next()) {
    const Node* controls = owner->find("controller");
    if (!controls || !controls->boolean()) continue;
    const std::string version = text_at(owner, "apiVersion");
    const size_t slash = version.find('/');
    std::string kind = text_at(owner, "kind");
    for (char& c : kind)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    return kind + (slash == std::string::npos ? "" : "." + version.substr(0, slash)) + "/" + text_at(owner, "name");
  }
  return std::string("<none>");
}

Cell scaler_reference(const Node* o, WallTime) {
  return text_at(o, ".spec.scaleTargetRef.kind") + "/" + text_at(o, ".spec.scaleTargetRef.name");
}

// autoscaling/v1 knows one metric: processor use.
Cell scaler_targets_v1(const Node* o) {
  const Node* target = find_path(o, ".spec.targetCPUUtilizationPercentage");
  const Node* current = find_path(o, ".status.currentCPUUtilizationPercentage");
  return std::string("cpu: ") + (current ? std::to_string(current->integer()) + "%" : "<unknown>") + "/" +
         (target ? std::to_string(target->integer()) + "%" : "<auto>");
}

Cell scaler_targets(const Node* o, WallTime) {
  const Node* metrics = find_path(o, ".spec.metrics");
  if (!metrics)
    return find_path(o, ".spec.targetCPUUtilizationPercentage") ? scaler_targets_v1(o) : Cell(std::string("<none>"));
  std::vector<std::string> parts;
  for (const Node* metric = metrics->first(); metric; metric = metric->next()) {
    const Node* resource = metric->find("resource");
    if (!resource) continue;
    const std::string name = text_at(resource, "name"), percent = text_at(resource, "target.averageUtilization");
    parts.push_back(name + ": <unknown>/" +
                    (percent.empty() ? text_at(resource, "target.averageValue") : percent + "%"));
  }
  if (parts.empty()) return std::string("<none>");
  return parts.size() <= 2 ? joined(parts, ", ")
                           : parts[0] + ", " + parts[1] + " + " + std::to_string(parts.size() - 2) + " more...";
}

}  // namespace

std::vector<Row> workload_rows() {
  std::vector<Row> rows = {{"Deployment", "Ready", ready_of_wanted},
                           {"StatefulSet", "Ready", ready_of_wanted},
                           {"DaemonSet", "Node Selector", node_selector},
                           {"ReplicationController", "Selector", controller_selector},
                           {"Job", "Status", job_status},
                           {"Job", "Completions", job_completions},
                           {"Job", "Duration", job_duration},
                           {"CronJob", "Suspend", cron_suspend},
                           {"CronJob", "Active", cron_active},
                           {"CronJob", "Last Schedule", cron_last},
                           {"CronJob", "Containers", cron_containers},
                           {"CronJob", "Images", cron_images},
                           {"CronJob", "Selector", cron_selector},
                           {"PodTemplate", "Containers", template_containers},
                           {"PodTemplate", "Images", template_images},
                           {"PodTemplate", "Pod Labels", template_labels},
                           {"ControllerRevision", "Controller", revision_controller},
                           {"HorizontalPodAutoscaler", "Reference", scaler_reference},
                           {"HorizontalPodAutoscaler", "Targets", scaler_targets}};
  for (std::string_view kind :
       {"Deployment", "ReplicaSet", "DaemonSet", "Job", "StatefulSet", "ReplicationController"}) {
    rows.push_back({kind, "Containers", containers});
    rows.push_back({kind, "Images", images});
    if (kind != "ReplicationController") rows.push_back({kind, "Selector", selector});
  }
  return rows;
}

}  // namespace dure::kinds::columns
