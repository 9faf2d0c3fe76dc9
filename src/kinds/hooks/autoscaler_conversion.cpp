// autoscaling/v1 HorizontalPodAutoscaler is the v2 one with a single CPU metric. Other metrics of a v2 object are not
// seen through v1.
#include "kinds/hooks/write_rows.h"
#include "kinds/views/autoscaling_v1.h"
#include "kinds/views/autoscaling_v2.h"

namespace dure::kinds::write {

using schema::Document;
using schema::Node;

namespace {

void copy_path(const Document& from, Document& to, std::string_view part, std::string_view member) {
  if (const Node* node = from.root()->find(part, member))
    to.copy(to.member(to.member(to.root(), part), member), node);
}

void copy_shared(const Document& from, Document& to) {
  if (const Node* metadata = from.root()->find("metadata"))
    to.copy(to.member(to.root(), "metadata"), metadata);
  for (const std::string_view member : {"scaleTargetRef", "minReplicas", "maxReplicas"})
    copy_path(from, to, "spec", member);
  for (const std::string_view member :
       {"observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas"})
    copy_path(from, to, "status", member);
}

}  // namespace

Status autoscaler_to_v2(const Document& served, Document& stored) {
  copy_shared(served, stored);
  const autoscaling_v1::HorizontalPodAutoscaler from(served);
  autoscaling_v2::HorizontalPodAutoscaler to(stored);
  to.set_kind("HorizontalPodAutoscaler");
  to.set_apiVersion("autoscaling/v2");
  if (from.spec().has_targetCPUUtilizationPercentage()) {
    auto metric = to.mutable_spec().add_metrics();
    metric.set_type("Resource");
    metric.mutable_resource().set_name("cpu");
    auto target = metric.mutable_resource().mutable_target();
    target.set_type("Utilization");
    target.set_averageUtilization(from.spec().targetCPUUtilizationPercentage());
  }
  if (from.status().has_currentCPUUtilizationPercentage()) {
    auto metric = to.mutable_status().add_currentMetrics();
    metric.set_type("Resource");
    metric.mutable_resource().set_name("cpu");
    metric.mutable_resource().mutable_current().set_averageUtilization(
        from.status().currentCPUUtilizationPercentage());
  }
  return {};
}

Status autoscaler_from_v2(const Document& stored, Document& served) {
  copy_shared(stored, served);
  const autoscaling_v2::HorizontalPodAutoscaler from(stored);
  autoscaling_v1::HorizontalPodAutoscaler to(served);
  to.set_kind("HorizontalPodAutoscaler");
  to.set_apiVersion("autoscaling/v1");
  for (const auto metric : from.spec().metrics())
    if (metric.type() == "Resource" && metric.resource().name() == "cpu" &&
        metric.resource().target().has_averageUtilization())
      to.mutable_spec().set_targetCPUUtilizationPercentage(metric.resource().target().averageUtilization());
  for (const auto metric : from.status().currentMetrics())
    if (metric.type() == "Resource" && metric.resource().name() == "cpu")
      to.mutable_status().set_currentCPUUtilizationPercentage(
          metric.resource().current().averageUtilization());
  return {};
}

}  // namespace dure::kinds::write
