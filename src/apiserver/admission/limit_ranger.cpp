// LimitRanger: https://kubernetes.io/docs/concepts/policy/limit-range/
#include <map>
#include <optional>

#include "apiserver/admission/admission.h"
#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "schema/quantity.h"

namespace dure::apiserver::admission {
namespace {

using namespace kinds;
using schema::Quantity;

using Amounts = std::map<std::string, Quantity, std::less<>>;
using AmountMap = schema::Map<std::string_view>;

struct Filled {
  std::vector<std::string> requests, limits;
};

template <class Container>
void fill_from(const Container& container, const core_v1::LimitRangeItem& item, Filled& filled) {
  const auto resources = container.mutable_resources();
  for (const auto& [name, amount] : item.default_())
    if (!resources.limits().contains(name)) {
      resources.set_limits(name, amount);
      filled.limits.emplace_back(name);
    }
  for (const auto& [name, amount] : item.defaultRequest())
    if (!resources.requests().contains(name)) {
      resources.set_requests(name, amount);
      filled.requests.emplace_back(name);
    }
}

void note(std::string& text, const Filled& filled, std::string_view kind, std::string_view name) {
  const auto add = [&](const std::vector<std::string>& names, std::string_view what) {
    if (names.empty()) return;
    text.append(text.empty() ? "LimitRanger plugin set: " : "; ").append(join(names, ", "));
    text.append(" ").append(what).append(" for ").append(kind).append(" ").append(name);
  };
  add(filled.requests, "request");
  add(filled.limits, "limit");
}

template <class Containers>
void fill_containers(const Containers& containers, const core_v1::LimitRangeItem& item, std::string_view kind,
                     std::string& text) {
  for (const auto& container : containers) {
    Filled filled;
    fill_from(container, item, filled);
    note(text, filled, kind, container.name());
  }
}

std::optional<Quantity> amount(const AmountMap& map, std::string_view name) {
  if (!map.contains(name)) return std::nullopt;
  return Quantity::read(map.get(name));
}

struct Use {
  Amounts requests, limits;
};

std::optional<Quantity> find(const Amounts& amounts, std::string_view name) {
  const auto found = amounts.find(name);
  if (found == amounts.end()) return std::nullopt;
  return found->second;
}

Use use_of(const core_v1::ResourceRequirements& resources) {
  Use use;
  for (const auto& [name, value] : resources.requests()) use.requests.emplace(name, Quantity::read(value));
  for (const auto& [name, value] : resources.limits()) use.limits.emplace(name, Quantity::read(value));
  return use;
}

void add_all(Amounts& sum, const Amounts& more) {
  for (const auto& [name, value] : more) sum[name] = sum[name] + value;
}

// Appends the sentences of broken bounds.
void check_item(const core_v1::LimitRangeItem& item, const Use& use, std::vector<std::string>& errors) {
  const std::string kind(item.type());
  for (const auto& [name, text] : item.min()) {
    const auto request = find(use.requests, name), limit = find(use.limits, name);
    const std::string what = "minimum " + std::string(name) + " usage per " + kind + " is " + std::string(text);
    if (!request)
      errors.push_back(what + ".  No request is specified");
    else if (*request < Quantity::read(text))
      errors.push_back(what + ", but request is " + request->text());
    if (limit && *limit < Quantity::read(text)) errors.push_back(what + ", but limit is " + limit->text());
  }
  for (const auto& [name, text] : item.max()) {
    const auto request = find(use.requests, name), limit = find(use.limits, name);
    const std::string what = "maximum " + std::string(name) + " usage per " + kind + " is " + std::string(text);
    if (!limit)
      errors.push_back(what + ".  No limit is specified");
    else if (*limit > Quantity::read(text))
      errors.push_back(what + ", but limit is " + limit->text());
    if (request && *request > Quantity::read(text)) errors.push_back(what + ", but request is " + request->text());
  }
}

std::vector<std::string> check_pod(const core_v1::PodSpec& spec, const core_v1::LimitRangeItem& item) {
  std::vector<std::string> errors;
  Use sum;
  const auto each = [&](const auto& containers) {
    for (const auto& container : containers) {
      const Use use = use_of(container.resources());
      if (item.type() == "Container") check_item(item, use, errors);
    }
  };
  each(spec.containers());
  each(spec.initContainers());
  for (const auto& container : spec.containers()) {
    const Use use = use_of(container.resources());
    add_all(sum.requests, use.requests);
    add_all(sum.limits, use.limits);
  }
  if (item.type() == "Pod") check_item(item, sum, errors);
  return errors;
}

Status check_claim(const AdmissionRequest& request, const core_v1::LimitRangeItem& item) {
  const auto resources = core_v1::PersistentVolumeClaim(*request.object).spec().resources();
  const auto asked = amount(resources.requests(), "storage");
  if (item.type() != "PersistentVolumeClaim" || !asked) return {};
  const auto least = amount(item.min(), "storage"), most = amount(item.max(), "storage");
  if (least && *asked < *least)
    return refuse(request, "minimum storage usage per PersistentVolumeClaim is " + least->text() + ", but request is " +
                               asked->text());
  if (most && *asked > *most)
    return refuse(request, "maximum storage usage per PersistentVolumeClaim is " + most->text() + ", but request is " +
                               asked->text());
  return {};
}

void fill_pod(AdmissionRequest& request, const std::vector<schema::Object>& ranges) {
  const core_v1::Pod pod(*request.object);
  std::string text;
  for (const schema::Object& range : ranges)
    for (const auto& item : core_v1::LimitRange(range).spec().limits()) {
      if (item.type() != "Container") continue;
      fill_containers(pod.mutable_spec().mutable_containers(), item, "container", text);
      fill_containers(pod.mutable_spec().mutable_initContainers(), item, "init container", text);
    }
  if (!text.empty()) pod.mutable_metadata().set_annotations("kubernetes.io/limit-ranger", text);
}

}  // namespace

Status apply_limit_ranges(AdmissionRequest& request, const ClusterState& cluster) {
  const bool pod = is_write_of(request, "CREATE", "", "pods");
  if (!pod && !is_write_of(request, "CREATE", "", "persistentvolumeclaims")) return {};
  const std::vector<schema::Object> ranges = cluster.list("", "limitranges", request.request->namespace_);
  if (ranges.empty()) return {};
  if (pod) fill_pod(request, ranges);
  std::vector<std::string> errors;
  for (const schema::Object& range : ranges)
    for (const auto& item : core_v1::LimitRange(range).spec().limits()) {
      if (!pod) {
        DURE_CHECK(check_claim(request, item));
        continue;
      }
      for (std::string& error : check_pod(core_v1::Pod(*request.object).spec(), item))
        errors.push_back(std::move(error));
    }
  if (errors.empty()) return {};
  return refuse(request, errors.size() == 1 ? errors[0] : "[" + join(errors, ", ") + "]");
}

}  // namespace dure::apiserver::admission
