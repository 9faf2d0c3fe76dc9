// A small cluster for tests of this room: the real API over the memory store, the real caches and loop, on any
// executor.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "apiserver/api.h"
#include "client/cache.h"
#include "client/events.h"
#include "client/loop.h"
#include "client/object_meta.h"
#include "kinds/views/core_v1.h"
#include "os/clock.h"
#include "plane/in_process_client.h"
#include "pods/pods.h"
#include "run/virtual_executor.h"
#include "schema/json.h"
#include "store/store.h"

namespace dure::pods::testing {

// The API server's own path in process, open to everybody.
class TestApi {
 public:
  explicit TestApi(run::Executor& executor)
      : random_(os::make_seeded_random(7)),
        api(*store, executor, *random_),
        user(std::make_shared<apiserver::User>(apiserver::User{.name = "test", .groups = {"system:masters"}})) {
    apiserver::ApiGuards guards;
    guards.authorize = [](const apiserver::User&, const apiserver::Attributes&) {
      return apiserver::Verdict{true, ""};
    };
    guards.compute["/serviceaccounts/token"] = [this, &executor](const apiserver::ApiRequest& request,
                                                                 schema::Document body) -> Result<schema::Document> {
      schema::Node* status = body.member(body.root(), "status");
      body.make_object(status);
      body.set(body.member(status, "token"), "token-" + std::to_string(++tokens) + "-of-" + request.name);
      body.set(body.member(status, "expirationTimestamp"), format_time(executor.wall_now() + 1h));
      return body;
    };
    api.set_guards(std::move(guards));
    client = plane::in_process_client(api, user, executor);
    for (const char* name : {"default", "kube-system", "kube-node-lease"})
      make(kinds::core_v1::namespaces,
           std::string(R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":")") + name + R"("}})");
  }

  schema::Object make(const client::Resource& resource, const std::string& json, const std::string& ns = "") {
    auto document = schema::decode_json(SharedBytes(json), *resource.type);
    EXPECT_TRUE(document) << document.error().message;
    auto made = client->create(resource, *document, ns);
    EXPECT_TRUE(made) << made.error().message;
    return made ? *made : nullptr;
  }

  // A pod on node n1 in default.
  schema::Object make_pod(const std::string& name, const std::string& spec, const std::string& metadata = "") {
    return make(kinds::core_v1::pods,
                R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + "\"" + metadata +
                    R"(},"spec":{"nodeName":"n1",)" + spec + "}}",
                "default");
  }

  schema::Object pod(const std::string& name) {
    auto found = client->get(kinds::core_v1::pods, {"default", name});
    return found ? *found : nullptr;
  }
  std::string phase(const std::string& name) {
    const schema::Object object = pod(name);
    return object ? std::string(kinds::core_v1::Pod(object).status().phase()) : "gone";
  }
  // "main: Running ready=true restarts=0", "main: waiting CrashLoopBackOff ...": one line per container.
  std::string containers(const std::string& name) {
    const schema::Object object = pod(name);
    if (!object) return "gone";
    std::string out;
    const kinds::core_v1::Pod view(object);
    const auto add = [&](kinds::core_v1::ContainerStatus s) {
      out += std::string(s.name()) + ":";
      if (s.state().has_running()) out += " running";
      if (s.state().has_waiting()) out += " waiting " + std::string(s.state().waiting().reason());
      if (s.state().has_terminated())
        out += " ended " + std::string(s.state().terminated().reason()) + " " +
               std::to_string(s.state().terminated().exitCode());
      out += std::string(" ready=") + (s.ready() ? "true" : "false") + " restarts=" + std::to_string(s.restartCount()) +
             "\n";
    };
    for (auto s : view.status().initContainerStatuses()) add(s);
    for (auto s : view.status().containerStatuses()) add(s);
    return out;
  }
  std::string condition(const std::string& name, std::string_view type) {
    const schema::Object object = pod(name);
    if (!object) return "gone";
    for (kinds::core_v1::PodCondition c : kinds::core_v1::Pod(object).status().conditions())
      if (c.type() == type) return std::string(c.status()) + (c.reason().empty() ? "" : " " + std::string(c.reason()));
    return "absent";
  }
  // "Reason message" of every event about a pod.
  std::multiset<std::string> events(const std::string& name) {
    std::multiset<std::string> out;
    auto list = client->list(kinds::core_v1::events, {.namespace_ = "default"});
    if (!list) return out;
    for (const schema::Object& object : list->items) {
      const kinds::core_v1::Event event(object);
      if (event.involvedObject().name() == name)
        out.insert(std::string(event.reason()) + " " + std::string(event.message()));
    }
    return out;
  }

  std::unique_ptr<store::Store> store = store::make_memory_store();
  std::unique_ptr<os::Random> random_;
  apiserver::Api api;
  std::shared_ptr<apiserver::User> user;
  std::unique_ptr<client::Client> client;
  int tokens = 0;
};

class NoNet : public ProbeNet {
 public:
  ProbeAnswer http(const Http& request, Duration) override {
    ++asked;
    last = request;
    return answer;
  }
  ProbeAnswer tcp(const std::string&, int, Duration) override {
    ++asked;
    return answer;
  }
  ProbeAnswer grpc(const std::string&, int, const std::string&, Duration) override {
    ++asked;
    return answer;
  }
  ProbeAnswer answer{true, ""};
  Http last;
  int asked = 0;
};

}  // namespace dure::pods::testing
