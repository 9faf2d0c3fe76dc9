#include "sim/workload.h"

#include <fmt/format.h>

#include "client/object_meta.h"
#include "kinds/views/apps_v1.h"
#include "kinds/views/batch_v1.h"
#include "kinds/views/core_v1.h"
#include "schema/json.h"

namespace dure::sim {
namespace {

namespace core = kinds::core_v1;
namespace apps = kinds::apps_v1;
namespace batch = kinds::batch_v1;
using client::Key;
using client::Resource;

constexpr const char* namespace_names[] = {"alpha", "beta", "gamma"};
constexpr size_t deployments_max = 6, jobs_max = 4;

std::string pod_template(Dice& dice, std::string_view app) {
  const bool deaf = dice.one_in(4);
  const std::string probe = dice.one_in(2) ? R"(,"readinessProbe":{"tcpSocket":{"port":80},"periodSeconds":5})" : "";
  const std::string volume =
      dice.one_in(3) ? R"(,"volumes":[{"name":"settings","configMap":{"name":"kube-root-ca.crt"}}])" : "";
  const std::string mount = volume.empty() ? "" : R"(,"volumeMounts":[{"name":"settings","mountPath":"/settings"}])";
  return fmt::format(
      R"({{"metadata":{{"labels":{{"app":"{}"}}}},"spec":{{"terminationGracePeriodSeconds":{},"containers":[{{"name":"main",)"
      R"("image":"example.com/app:{}","command":["serve"{}],"resources":{{"requests":{{"cpu":"{}m"}}}}{}{}}}]{}}}}})",
      app, dice.between(1, 20), dice.between(1, 9), deaf ? R"(,"ignore-term")" : "", dice.between(10, 400), probe,
      mount, volume);
}

}  // namespace

schema::Document Workload::document(const Resource& resource, const std::string& json) const {
  auto decoded = schema::decode_json(SharedBytes(json), *resource.type);
  if (!decoded) journal_.violation(fmt::format("the workload writes bad JSON: {}: {}", decoded.error().message, json));
  schema::Document object = decoded ? std::move(*decoded) : schema::Document(*resource.type);
  object.set(object.member(object.root(), "apiVersion"), std::string_view(resource.api_version()));
  object.set(object.member(object.root(), "kind"), resource.kind);
  return object;
}

void Workload::say(std::string_view what, const Status& done) {
  journal_.note(done ? fmt::format("user: {}", what) : fmt::format("user: {}: {}", what, done.error().message));
}

void Workload::begin() {
  for (const char* name : namespace_names)
    want(core::namespaces, {"", name}, fmt::format(R"({{"metadata":{{"name":"{}"}}}})", name));
}

std::string Workload::some_namespace() { return dice_.pick(namespace_names); }

std::vector<Wanted*> Workload::all_of(const Resource& resource) {
  std::vector<Wanted*> found;
  for (auto& [id, wanted] : wanted_)
    if (wanted.resource == &resource) found.push_back(&wanted);
  return found;
}

void Workload::want(const Resource& resource, Key key, std::string body) {
  Wanted& wanted = wanted_[id_of(resource, key)];
  wanted = {&resource, std::move(key), std::move(body)};
  apply(wanted);
}

// True: it is there as wanted already.
bool Workload::apply(const Wanted& wanted) {
  const Resource& resource = *wanted.resource;
  auto there = client_.get(resource, wanted.key);
  if (!there && there.error().code != 404) return false;
  const std::string what = fmt::format("{} {}", resource.plural, wanted.key.text());
  if (!there) {
    auto made = client_.create(resource, document(resource, wanted.body), wanted.key.namespace_);
    say("create " + what, made ? Status{} : Status(fail(made.error())));
    return false;
  }
  if (client::is_terminating(*there)) return false;
  if (&resource == &batch::jobs || &resource == &core::namespaces || &resource == &core::pods) return true;
  auto patched = client_.patch(resource, wanted.key, client::PatchType::merge, wanted.body);
  if (patched && client::revision_of(*patched) == client::revision_of(*there)) return true;
  say("change " + what, patched ? Status{} : Status(fail(patched.error())));
  return false;
}

void Workload::unwant(const Wanted& wanted, client::Propagation propagation) {
  const Wanted copy = wanted;
  wanted_.erase(id_of(copy.resource[0], copy.key));
  Status done = client_.remove(*copy.resource, copy.key, {.propagation = propagation});
  say(fmt::format("delete{} {} {}", propagation == client::Propagation::foreground ? " (foreground)" : "",
                  copy.resource->plural, copy.key.text()),
      done);
}

void Workload::act() {
  switch (dice_.below(16)) {
    case 0:
    case 1:
    case 2:
      return put_deployment();
    case 3:
    case 4:
    case 5:
    case 6:
      return change_deployment();
    case 7:
      return put_daemon_set();
    case 8:
      return put_job();
    case 9:
    case 10:
      return put_service();
    case 11:
      return put_config_map();
    case 12:
      return remove_something();
    case 13:
      return remove_pod();
    case 14:
      return put_solo_pod();
    case 15:
      return dice_.one_in(2) ? remove_namespace() : remove_something();
  }
}

void Workload::interfere() {
  if (dice_.one_in(2))
    change_deployment();
  else
    remove_pod();
}

void Workload::put_deployment() {
  if (all_of(apps::deployments).size() >= deployments_max) return change_deployment();
  const std::string ns = some_namespace(), name = fmt::format("web{}", dice_.between(1, 3));
  const char* strategies[] = {R"({"type":"RollingUpdate"})", R"({"type":"Recreate","rollingUpdate":null})",
                              R"({"type":"RollingUpdate","rollingUpdate":{"maxSurge":0,"maxUnavailable":1}})",
                              R"({"type":"RollingUpdate","rollingUpdate":{"maxSurge":2,"maxUnavailable":0}})"};
  want(apps::deployments, {ns, name},
       fmt::format(R"({{"metadata":{{"name":"{0}"}},"spec":{{"replicas":{1},"strategy":{2},"minReadySeconds":{3},)"
                   R"("selector":{{"matchLabels":{{"app":"{0}"}}}},"template":{4}}}}})",
                   name, dice_.between(0, 6), dice_.pick(strategies), dice_.one_in(3) ? 5 : 0,
                   pod_template(dice_, name)));
}

void Workload::change_deployment() {
  const auto all = all_of(apps::deployments);
  if (all.empty()) return;
  Wanted& one = *dice_.pick(all);
  auto body = schema::decode_json(SharedBytes(one.body));
  schema::Node* spec = body->member(body->root(), "spec");
  if (dice_.one_in(2)) {
    body->set(body->member(spec, "replicas"), dice_.between(0, 7));
  } else {
    schema::Node* pod = body->member(body->member(spec, "template"), "spec");
    schema::Node* container = body->member(pod, "containers")->first();
    body->set(body->member(container, "image"), fmt::format("example.com/app:{}", dice_.between(1, 9)));
  }
  want(apps::deployments, one.key, schema::to_json(*body));
}

void Workload::put_daemon_set() {
  const std::string ns = some_namespace(), name = "agent";
  want(apps::daemonsets, {ns, name},
       fmt::format(
           R"({{"metadata":{{"name":"{0}"}},"spec":{{"selector":{{"matchLabels":{{"app":"{0}"}}}},"template":{1}}}}})",
           name, pod_template(dice_, name)));
}

void Workload::put_job() {
  if (all_of(batch::jobs).size() >= jobs_max) return;
  const std::string ns = some_namespace(), name = fmt::format("work{}", ++numbers_);
  want(
      batch::jobs, {ns, name},
      fmt::format(
          R"({{"metadata":{{"name":"{}"}},"spec":{{"completions":{},"parallelism":{},"backoffLimit":{},"template":{{"spec":{{)"
          R"("restartPolicy":"{}","containers":[{{"name":"main","image":"example.com/app:1","command":["sh","-c","sleep {}; exit {}"]}}]}}}}}}}})",
          name, dice_.between(1, 4), dice_.between(1, 3), dice_.between(1, 4), dice_.one_in(2) ? "Never" : "OnFailure",
          dice_.between(0, 30), dice_.one_in(5) ? 1 : 0));
}

void Workload::put_service() {
  const std::string ns = some_namespace(), name = fmt::format("web{}", dice_.between(1, 3));
  want(
      core::services, {ns, name},
      fmt::format(
          R"({{"metadata":{{"name":"{0}"}},"spec":{{"selector":{{"app":"{0}"}},"ports":[{{"name":"http","port":80,"targetPort":8080,"protocol":"TCP"}}]}}}})",
          name));
}

void Workload::put_config_map() {
  const std::string ns = some_namespace(), name = fmt::format("settings{}", dice_.between(1, 3));
  want(core::configmaps, {ns, name},
       fmt::format(R"({{"metadata":{{"name":"{}"}},"data":{{"value":"{}"}}}})", name,
                   std::string(dice_.below(3000), 'a' + static_cast<char>(dice_.below(26)))));
}

// A pod whose name comes back, as a StatefulSet's would.
void Workload::put_solo_pod() {
  const std::string ns = some_namespace(), name = fmt::format("solo{}", dice_.between(1, 3));
  auto body = schema::decode_json(SharedBytes(pod_template(dice_, name)));
  body->set(body->member(body->member(body->root(), "metadata"), "name"), name);
  want(core::pods, {ns, name}, schema::to_json(*body));
}

void Workload::remove_something() {
  std::vector<Wanted*> all;
  for (auto& [id, wanted] : wanted_)
    if (wanted.resource != &core::namespaces) all.push_back(&wanted);
  if (all.empty()) return;
  unwant(*dice_.pick(all), dice_.one_in(3) ? client::Propagation::foreground : client::Propagation::background);
}

void Workload::remove_pod() {
  auto pods = client_.list(core::pods);
  if (!pods || pods->items.empty()) return;
  const Key key = client::key_of(dice_.pick(pods->items));
  say(fmt::format("delete pods {}", key.text()), client_.remove(core::pods, key));
}

// Everything in it goes, and users put it there again.
void Workload::remove_namespace() {
  const std::string name = some_namespace();
  std::erase_if(wanted_, [&](const auto& entry) { return entry.second.key.namespace_ == name; });
  say(fmt::format("delete namespaces {}", name), client_.remove(core::namespaces, {"", name}));
}

bool Workload::remove_others(const Resource& resource) {
  auto list = client_.list(resource);
  if (!list) return false;
  bool none = true;
  for (const schema::Object& object : list->items) {
    const Key key = client::key_of(object);
    const std::string ns = resource.namespaced ? key.namespace_ : key.name;
    bool ours = false;
    for (const char* name : namespace_names) ours = ours || ns == name;
    if (!ours || wanted_.contains(id_of(resource, key)) || !client::controller_of(object).uid.empty() ||
        key.name == "kube-root-ca.crt")
      continue;
    none = false;
    if (!client::is_terminating(object))
      say(fmt::format("delete again {} {}", resource.plural, key.text()), client_.remove(resource, key));
  }
  return none;
}

bool Workload::insist() {
  bool settled = true;
  for (const Resource* resource : {&apps::deployments, &apps::daemonsets, &batch::jobs, &core::services,
                                   &core::configmaps, &core::pods, &core::namespaces})
    settled = remove_others(*resource) && settled;
  for (const auto& [id, wanted] : wanted_) settled = apply(wanted) && settled;
  return settled;
}

void Workload::end_everything() {
  journal_.note("user: wants nothing any more");
  wanted_.clear();
}

}  // namespace dure::sim
