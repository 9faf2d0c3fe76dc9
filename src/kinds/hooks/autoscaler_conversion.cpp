// autoscaling/v1 HorizontalPodAutoscaler is the v2 one with a single target for CPU use. What v1 has no members for
// (other metrics, the state of metrics, conditions, behavior) travels in annotations, under upstream's names and in its
// shapes, so that an update through v1 keeps it. Annotations that do not parse are ignored. Only v1 shows them: they
// are never stored.
#include <algorithm>
#include <array>
#include <cctype>
#include <span>

#include "kinds/hooks/write_rows.h"
#include "kinds/views/autoscaling_v1.h"
#include "kinds/views/autoscaling_v2.h"
#include "schema/json.h"

namespace dure::kinds::write {

using schema::Document;
using schema::Node;

namespace {

constexpr std::string_view metrics_annotation = "autoscaling.alpha.kubernetes.io/metrics",
                           current_annotation = "autoscaling.alpha.kubernetes.io/current-metrics",
                           conditions_annotation = "autoscaling.alpha.kubernetes.io/conditions",
                           behavior_annotation = "autoscaling.alpha.kubernetes.io/behavior";
constexpr std::array all_annotations{metrics_annotation, current_annotation, conditions_annotation,
                                     behavior_annotation};

// A metric is flat in v1 and grouped in v2: resource.targetAverageValue is resource.target.averageValue.
struct Member {
  std::string_view source, v1, group, v2;  // no group: a member of the source itself
  bool always = false;                     // v1 has no way to leave it out: 0 stands for absent beside other values
};

constexpr Member spec_members[] = {
    {"object", "target", "", "describedObject"},
    {"object", "metricName", "metric", "name"},
    {"object", "selector", "metric", "selector"},
    {"object", "averageValue", "target", "averageValue"},
    {"object", "targetValue", "target", "value", true},
    {"pods", "metricName", "metric", "name"},
    {"pods", "selector", "metric", "selector"},
    {"pods", "targetAverageValue", "target", "averageValue", true},
    {"resource", "name", "", "name"},
    {"resource", "targetAverageUtilization", "target", "averageUtilization"},
    {"resource", "targetAverageValue", "target", "averageValue"},
    {"containerResource", "name", "", "name"},
    {"containerResource", "container", "", "container"},
    {"containerResource", "targetAverageUtilization", "target", "averageUtilization"},
    {"containerResource", "targetAverageValue", "target", "averageValue"},
    {"external", "metricName", "metric", "name"},
    {"external", "metricSelector", "metric", "selector"},
    {"external", "targetValue", "target", "value"},
    {"external", "targetAverageValue", "target", "averageValue"},
};

constexpr Member status_members[] = {
    {"object", "target", "", "describedObject"},
    {"object", "metricName", "metric", "name"},
    {"object", "selector", "metric", "selector"},
    {"object", "averageValue", "current", "averageValue"},
    {"object", "currentValue", "current", "value", true},
    {"pods", "metricName", "metric", "name"},
    {"pods", "selector", "metric", "selector"},
    {"pods", "currentAverageValue", "current", "averageValue", true},
    {"resource", "name", "", "name"},
    {"resource", "currentAverageUtilization", "current", "averageUtilization"},
    {"resource", "currentAverageValue", "current", "averageValue", true},
    {"containerResource", "name", "", "name"},
    {"containerResource", "container", "", "container"},
    {"containerResource", "currentAverageUtilization", "current", "averageUtilization"},
    {"containerResource", "currentAverageValue", "current", "averageValue", true},
    {"external", "metricName", "metric", "name"},
    {"external", "metricSelector", "metric", "selector"},
    {"external", "currentAverageValue", "current", "averageValue"},
    {"external", "currentValue", "current", "value", true},
};

// The members of behavior, as the annotation spells them: the first letter is a capital, absent ones are null.
constexpr std::array behavior_members{"ScaleUp", "ScaleDown"};
constexpr std::array rules_members{"StabilizationWindowSeconds", "SelectPolicy", "Policies", "Tolerance"};
constexpr std::array policy_members{"Type", "Value", "PeriodSeconds"};

std::string uncapitalized(std::string_view name) {
  std::string out(name);
  if (!out.empty()) out[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(out[0])));
  return out;
}

void copy_path(const Document& from, Document& to, std::string_view part, std::string_view member) {
  if (const Node* node = from.root()->find(part, member)) to.copy(to.member(to.member(to.root(), part), member), node);
}

void copy_shared(const Document& from, Document& to) {
  if (const Node* metadata = from.root()->find("metadata")) to.copy(to.member(to.root(), "metadata"), metadata);
  for (const std::string_view member : {"scaleTargetRef", "minReplicas", "maxReplicas"})
    copy_path(from, to, "spec", member);
  for (const std::string_view member : {"observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas"})
    copy_path(from, to, "status", member);
}

void drop_annotations(Document& object) {
  Node* metadata = object.root()->find("metadata");
  Node* annotations = metadata ? metadata->find("annotations") : nullptr;
  if (!annotations) return;
  for (const std::string_view name : all_annotations) object.erase(annotations, name);
  if (annotations->size() == 0) object.erase(metadata, "annotations");
}

// --- v1 to v2

void set_target_type(Document& stored, Node* target) {
  const std::string_view type = target->find("averageUtilization") ? "Utilization"
                                : target->find("averageValue")     ? "AverageValue"
                                                                   : "Value";
  stored.set(stored.member(target, "type"), type);
}

void metric_to_v2(const Node* flat, std::span<const Member> members, Document& stored, Node* grouped) {
  if (const Node* type = flat->find("type")) stored.copy(stored.member(grouped, "type"), type);
  for (const Member& m : members) {
    const Node *source = flat->find(m.source), *value = source ? source->find(m.v1) : nullptr;
    if (!source) continue;
    Node* to = stored.member(grouped, m.source);
    if (!m.group.empty()) to = stored.member(to, m.group);
    const bool stands_for_absent = m.always && (!value || value->string() == "0");
    if (stands_for_absent && !to->first()) stored.set(stored.member(to, m.v2), "0");
    if (!stands_for_absent && value) stored.copy(stored.member(to, m.v2), value);
  }
  for (Node* source = grouped->first(); source; source = source->next())
    if (Node* target = source->find("target")) set_target_type(stored, target);
}

// The items of the list that an annotation holds, each as `type`; none when anything about it is wrong.
std::vector<Document> annotated_items(const Document& served, std::string_view name, const schema::Type& type) {
  const Node* text = served.root()->find("metadata", "annotations", name);
  if (!text) return {};
  const auto list = schema::decode_json(SharedBytes(std::string(text->string())));
  if (!list || list->root()->kind() != schema::Kind::list) return {};
  std::vector<Document> items;
  for (const Node* item = list->root()->first(); item; item = item->next()) {
    auto typed = schema::retype(item, type);
    if (!typed) return {};
    items.push_back(std::move(*typed));
  }
  return items;
}

void copy_uncapitalized(const Node* from, Document& to, Node* at) {
  if (from->kind() == schema::Kind::object) {
    to.make_object(at);
    for (const Node* child = from->first(); child; child = child->next())
      copy_uncapitalized(child, to, to.member(at, uncapitalized(child->key())));
  } else if (from->kind() == schema::Kind::list) {
    to.make_list(at);
    for (const Node* child = from->first(); child; child = child->next()) copy_uncapitalized(child, to, to.append(at));
  } else {
    to.copy(at, from);
  }
}

void read_behavior(const Document& served, Document& stored) {
  const Node* text = served.root()->find("metadata", "annotations", behavior_annotation);
  if (!text) return;
  const auto found = schema::decode_json(SharedBytes(std::string(text->string())));
  if (!found || found->root()->kind() != schema::Kind::object) return;
  Document plain;
  copy_uncapitalized(found->root(), plain, plain.root());
  const auto behavior = schema::retype(plain.root(), autoscaling_v2::HorizontalPodAutoscalerBehavior::schema_type());
  if (behavior && behavior->root()->first())
    stored.copy(stored.member(stored.member(stored.root(), "spec"), "behavior"), behavior->root());
}

// --- v2 to v1

// What v1 has a member for.
bool is_cpu_target(const autoscaling_v2::MetricSpec& metric) {
  return metric.type() == "Resource" && metric.resource().name() == "cpu" &&
         metric.resource().target().has_averageUtilization();
}

Document metric_to_v1(const Node* grouped, std::span<const Member> members, const schema::Type& type) {
  Document flat(type);
  if (const Node* name = grouped->find("type")) flat.copy(flat.member(flat.root(), "type"), name);
  for (const Member& m : members) {
    const Node* value = m.group.empty() ? grouped->find(m.source, m.v2) : grouped->find(m.source, m.group, m.v2);
    if (value) flat.copy(flat.member(flat.member(flat.root(), m.source), m.v1), value);
  }
  return flat;
}

void annotate_list(const autoscaling_v1::HorizontalPodAutoscaler& to, std::string_view name,
                   std::span<const Document> items) {
  if (items.empty()) return;
  std::string text;
  for (const Document& item : items) {
    text += text.empty() ? '[' : ',';
    schema::encode_json(item, text);
  }
  to.mutable_metadata().set_annotations(name, text + "]");
}

// A member under the annotation's name: what `object` has under the API's, null when absent or a container.
Node* append_capitalized(Document& out, Node* at, std::string_view name, const Node* object) {
  Node* member = out.append_member(at, name, nullptr);
  if (const Node* value = object->find(uncapitalized(name)); value && !value->is_container()) out.copy(member, value);
  return member;
}

void append_rules(Document& out, Node* at, const Node* rules) {
  out.make_object(at);
  for (const std::string_view name : rules_members) {
    Node* member = append_capitalized(out, at, name, rules);
    const Node* policies = rules->find(uncapitalized(name));
    if (!policies || !policies->is_container()) continue;
    out.make_list(member);
    for (const Node* policy = policies->first(); policy; policy = policy->next()) {
      Node* item = out.append(member);
      out.make_object(item);
      for (const std::string_view part : policy_members) {
        Node* value = append_capitalized(out, item, part, policy);
        if (value->is_null() && part == "Type") out.set(value, "");
        if (value->is_null()) out.set(value, 0);
      }
    }
  }
}

void annotate_behavior(const autoscaling_v1::HorizontalPodAutoscaler& to, const Node* behavior) {
  if (!behavior) return;
  Document out;
  for (const std::string_view name : behavior_members) {
    Node* member = out.append_member(out.root(), name, nullptr);
    if (const Node* rules = behavior->find(uncapitalized(name))) append_rules(out, member, rules);
  }
  to.mutable_metadata().set_annotations(behavior_annotation, schema::to_json(out));
}

void annotate_status(const autoscaling_v1::HorizontalPodAutoscaler& to, const Node* status) {
  if (!status) return;
  std::vector<Document> metrics, conditions;
  if (const Node* list = status->find("currentMetrics"))
    for (const Node* one = list->first(); one; one = one->next())
      metrics.push_back(metric_to_v1(one, status_members, autoscaling_v1::MetricStatus::schema_type()));
  if (const Node* list = status->find("conditions"))
    for (const Node* one = list->first(); one; one = one->next())
      conditions.emplace_back(autoscaling_v1::HorizontalPodAutoscalerCondition::schema_type())
          .copy(conditions.back().root(), one);
  annotate_list(to, current_annotation, metrics);
  annotate_list(to, conditions_annotation, conditions);
}

}  // namespace

Status autoscaler_to_v2(const Document& served, Document& stored) {
  copy_shared(served, stored);
  drop_annotations(stored);
  const autoscaling_v1::HorizontalPodAutoscaler from(served);
  autoscaling_v2::HorizontalPodAutoscaler to(stored);
  to.set_kind("HorizontalPodAutoscaler");
  to.set_apiVersion("autoscaling/v2");
  const auto list = [&](std::string_view part, std::string_view name) {
    return stored.member(stored.member(stored.root(), part), name);
  };
  for (const Document& metric : annotated_items(served, metrics_annotation, autoscaling_v1::MetricSpec::schema_type()))
    metric_to_v2(metric.root(), spec_members, stored, stored.append(list("spec", "metrics")));
  if (from.spec().has_targetCPUUtilizationPercentage()) {
    auto metric = to.mutable_spec().add_metrics();
    metric.set_type("Resource");
    metric.mutable_resource().set_name("cpu");
    auto target = metric.mutable_resource().mutable_target();
    target.set_type("Utilization");
    target.set_averageUtilization(from.spec().targetCPUUtilizationPercentage());
  }
  read_behavior(served, stored);
  for (const Document& condition :
       annotated_items(served, conditions_annotation, autoscaling_v1::HorizontalPodAutoscalerCondition::schema_type()))
    stored.copy(stored.append(list("status", "conditions")), condition.root());
  const auto metrics = annotated_items(served, current_annotation, autoscaling_v1::MetricStatus::schema_type());
  for (const Document& metric : metrics)
    metric_to_v2(metric.root(), status_members, stored, stored.append(list("status", "currentMetrics")));
  // The annotation knows more than the number.
  if (metrics.empty() && from.status().has_currentCPUUtilizationPercentage()) {
    auto metric = to.mutable_status().add_currentMetrics();
    metric.set_type("Resource");
    metric.mutable_resource().set_name("cpu");
    metric.mutable_resource().mutable_current().set_averageUtilization(from.status().currentCPUUtilizationPercentage());
  }
  return {};
}

Status autoscaler_from_v2(const Document& stored, Document& served) {
  copy_shared(stored, served);
  drop_annotations(served);
  const autoscaling_v2::HorizontalPodAutoscaler from(stored);
  autoscaling_v1::HorizontalPodAutoscaler to(served);
  to.set_kind("HorizontalPodAutoscaler");
  to.set_apiVersion("autoscaling/v1");
  std::vector<Document> others;
  for (const auto metric : from.spec().metrics()) {
    if (is_cpu_target(metric) && !to.spec().has_targetCPUUtilizationPercentage())
      to.mutable_spec().set_targetCPUUtilizationPercentage(metric.resource().target().averageUtilization());
    else
      others.push_back(metric_to_v1(metric.node(), spec_members, autoscaling_v1::MetricSpec::schema_type()));
  }
  for (const auto metric : from.status().currentMetrics())
    if (metric.type() == "Resource" && metric.resource().name() == "cpu" &&
        metric.resource().current().has_averageUtilization())
      to.mutable_status().set_currentCPUUtilizationPercentage(metric.resource().current().averageUtilization());
  annotate_list(to, metrics_annotation, others);
  annotate_behavior(to, stored.root()->find("spec", "behavior"));
  annotate_status(to, stored.root()->find("status"));
  return {};
}

// Written through v2, the annotations say nothing that the object does not.
Status create_autoscaler(WriteWorld&, Document& object) {
  drop_annotations(object);
  return {};
}

Status update_autoscaler(WriteWorld& world, Document& object, const Document&) {
  return create_autoscaler(world, object);
}

}  // namespace dure::kinds::write
