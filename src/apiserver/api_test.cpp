// The resource path without HTTP: rules that hold for every kind, shown on ConfigMaps, Pods, Services, Namespaces.
#include "apiserver/api.h"

#include <gtest/gtest.h>

#include "apiserver/codec.h"
#include "apiserver/metadata.h"
#include "apiserver/path.h"
#include "apiserver/peek.h"
#include "kinds/kinds.h"
#include "run/virtual_executor.h"
#include "store/store.h"

namespace dure::apiserver {
namespace {

struct World {
  std::unique_ptr<store::Store> store = store::make_memory_store();
  run::VirtualExecutor executor;
  std::unique_ptr<os::Random> random = os::make_seeded_random(7);
  Api api{*store, executor, *random};
  std::shared_ptr<const User> user = std::make_shared<User>(User{.name = "alice", .groups = {"system:authenticated"}});

  World() {
    api.set_guards({.authorize = [](const User&, const Attributes&) { return Verdict{true, ""}; }});
    make("", "v1", "namespaces", "", R"({"metadata":{"name":"default"}})");
  }

  ApiRequest request(std::string verb, std::string_view group, std::string_view version, std::string_view resource,
                     std::string ns, std::string name = "") {
    ApiRequest r;
    r.user = user;
    r.verb = std::move(verb);
    r.resource = kinds::find_resource(group, version, resource);
    EXPECT_NE(r.resource, nullptr) << resource;
    r.namespace_ = std::move(ns);
    r.name = std::move(name);
    return r;
  }
  ApiResponse make(std::string_view group, std::string_view version, std::string_view resource, std::string ns,
                   std::string body) {
    ApiRequest r = request("create", group, version, resource, std::move(ns));
    r.body = std::move(body);
    return api.handle_and_wait(std::move(r));
  }
  ApiResponse put(std::string_view group, std::string_view version, std::string_view resource, std::string ns,
                  std::string name, std::string body, std::string sub = "") {
    ApiRequest r = request("update", group, version, resource, std::move(ns), std::move(name));
    r.subresource = std::move(sub);
    r.body = std::move(body);
    return api.handle_and_wait(std::move(r));
  }
  ApiResponse get(std::string_view group, std::string_view version, std::string_view resource, std::string ns,
                  std::string name) {
    return api.handle_and_wait(request("get", group, version, resource, std::move(ns), std::move(name)));
  }
};

std::string text(const ApiResponse& response) {
  if (response.error) return status_json(*response.error);
  if (response.object) return spliced(response.object->value.view(), response.object->revision);
  if (response.document) return encode_json(*response.document);
  return response.success.value_or("");
}
std::string at(const ApiResponse& response, std::string_view path) {
  return json_text(json_path(text(response), path));
}

TEST(Api, CreateFillsMetadataAndAnswersWhatIsStored) {
  World w;
  const auto made = w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"a"},"data":{"k":"v"}})");
  EXPECT_EQ(made.status, 201);
  EXPECT_EQ(at(made, "kind"), "ConfigMap");
  EXPECT_EQ(at(made, "metadata.namespace"), "default");
  EXPECT_EQ(at(made, "metadata.uid").size(), 36u);
  EXPECT_EQ(at(made, "metadata.creationTimestamp"), format_time(w.executor.wall_now()));
  EXPECT_EQ(at(made, "metadata.resourceVersion"), std::to_string(w.store->revision()));
  EXPECT_EQ(text(w.get("", "v1", "configmaps", "default", "a")), text(made));
}

TEST(Api, CreateTwiceIsAlreadyExistsAndGeneratedNamesDiffer) {
  World w;
  w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"a"}})");
  const auto again = w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(
      text(again),
      R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"configmaps \"a\" already exists",)"
      R"("reason":"AlreadyExists","details":{"name":"a","kind":"configmaps"},"code":409})");
  const auto one = w.make("", "v1", "configmaps", "default", R"({"metadata":{"generateName":"g-"}})");
  const auto two = w.make("", "v1", "configmaps", "default", R"({"metadata":{"generateName":"g-"}})");
  EXPECT_EQ(at(one, "metadata.name").size(), 7u);
  EXPECT_NE(at(one, "metadata.name"), at(two, "metadata.name"));
}

TEST(Api, BadNamesAndMissingNamespaces) {
  World w;
  const auto bad = w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"Not_OK"}})");
  EXPECT_EQ(bad.status, 422);
  EXPECT_EQ(at(bad, "reason"), "Invalid");
  EXPECT_NE(at(bad, "message")
                .find("ConfigMap \"Not_OK\" is invalid: metadata.name: Invalid value: \"Not_OK\": a "
                      "lowercase RFC 1123"),
            std::string::npos)
      << text(bad);
  const auto none = w.make("", "v1", "configmaps", "default", "{}");
  EXPECT_NE(at(none, "message").find("metadata.name: Required value: name or generateName is required"),
            std::string::npos);
  const auto away = w.make("", "v1", "configmaps", "nowhere", R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(away.status, 404);
  EXPECT_EQ(at(away, "message"), "namespaces \"nowhere\" not found");
}

TEST(Api, UpdateConflictsOnlyWhenAVersionIsGiven) {
  World w;
  const auto made = w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"a"},"data":{"k":"1"}})");
  const std::string version = at(made, "metadata.resourceVersion");
  const auto free = w.put("", "v1", "configmaps", "default", "a", R"({"metadata":{"name":"a"},"data":{"k":"2"}})");
  EXPECT_EQ(free.status, 200) << text(free);
  EXPECT_EQ(at(free, "metadata.uid"), at(made, "metadata.uid"));
  const auto stale = w.put("", "v1", "configmaps", "default", "a",
                           R"({"metadata":{"name":"a","resourceVersion":")" + version + R"("},"data":{"k":"3"}})");
  EXPECT_EQ(stale.status, 409);
  EXPECT_EQ(at(stale, "message"),
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply "
            "your changes to the "
            "latest version and try again");
  const auto same = w.put("", "v1", "configmaps", "default", "a", R"({"metadata":{"name":"a"},"data":{"k":"2"}})");
  EXPECT_EQ(at(same, "metadata.resourceVersion"), at(free, "metadata.resourceVersion"))
      << "an update without change writes nothing";
}

TEST(Api, GenerationFollowsSpecAndStatusIsASubresource) {
  World w;
  const auto made = w.make(
      "apps", "v1", "deployments", "default",
      R"({"metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}},"status":{"replicas":9}})");
  EXPECT_EQ(made.status, 201) << text(made);
  EXPECT_EQ(at(made, "metadata.generation"), "1");
  EXPECT_EQ(at(made, "status.replicas"), "");
  std::string body = text(made);
  body.replace(body.find("\"replicas\":1"), 12, "\"replicas\":2");
  const auto scaled = w.put("apps", "v1", "deployments", "default", "d", body);
  EXPECT_EQ(at(scaled, "metadata.generation"), "2") << text(scaled);
  std::string status = text(scaled);
  status.replace(status.find("\"replicas\":2"), 12, "\"replicas\":7");
  const auto set = w.put("apps", "v1", "deployments", "default", "d",
                         R"({"metadata":{"name":"d"},"status":{"replicas":5}})", "status");
  EXPECT_EQ(at(set, "status.replicas"), "5") << text(set);
  EXPECT_EQ(at(set, "spec.replicas"), "2");
  EXPECT_EQ(at(set, "metadata.generation"), "2");
  const auto scale =
      w.put("apps", "v1", "deployments", "default", "d", R"({"metadata":{"name":"d"},"spec":{"replicas":4}})", "scale");
  EXPECT_EQ(at(scale, "kind"), "Scale") << text(scale);
  EXPECT_EQ(at(scale, "spec.replicas"), "4");
  EXPECT_EQ(at(scale, "status.selector"), "a=b");
  EXPECT_EQ(at(w.get("apps", "v1", "deployments", "default", "d"), "metadata.generation"), "3");
}

TEST(Api, ListPagesSelectsAndExpires) {
  World w;
  for (int i = 0; i < 25; ++i)
    w.make("", "v1", "configmaps", "default",
           R"({"metadata":{"name":"c)" + std::to_string(100 + i) + R"(","labels":{"odd":")" + (i % 2 ? "yes" : "no") +
               R"("}}})");
  auto r = w.request("list", "", "v1", "configmaps", "default");
  r.list.limit = 10;
  std::vector<std::string> names;
  int pages = 0;
  for (;;) {
    const auto page = w.api.handle_and_wait(r);
    ASSERT_FALSE(page.error) << text(page);
    for (const auto& e : page.list->entries) names.push_back(e.key);
    ++pages;
    if (pages == 1) EXPECT_EQ(page.list->remaining, 15);
    if (page.list->continue_token.empty()) break;
    r.list.continue_token = page.list->continue_token;
  }
  EXPECT_EQ(names.size(), 25u);
  EXPECT_EQ(pages, 3);
  auto odd = w.request("list", "", "v1", "configmaps", "");
  odd.list.label_selector = "odd in (yes),!absent";
  EXPECT_EQ(w.api.handle_and_wait(odd).list->entries.size(), 12u);
  auto field = w.request("list", "", "v1", "configmaps", "default");
  field.list.field_selector = "metadata.name=c101";
  EXPECT_EQ(w.api.handle_and_wait(field).list->entries.size(), 1u);
  field.list.field_selector = "spec.x=1";
  EXPECT_EQ(at(w.api.handle_and_wait(field), "message"), "field label not supported: spec.x");
  auto late = w.request("list", "", "v1", "configmaps", "default");
  late.list.limit = 5;
  const auto first = w.api.handle_and_wait(late);
  w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"z"}})");
  ASSERT_TRUE(w.store->compact(w.store->revision()).has_value());
  late.list.continue_token = first.list->continue_token;
  const auto expired = w.api.handle_and_wait(late);
  EXPECT_EQ(expired.status, 410);
  EXPECT_EQ(at(expired, "reason"), "Expired");
}

struct Recorder : Watcher {
  std::vector<std::string> events;
  size_t accept = SIZE_MAX;
  bool deliver(EventType type, WatchItem& item) override {
    events.push_back(std::string(event_name(type)) + " " + item.entry.key.substr(item.entry.key.rfind('/') + 1));
    return events.size() < accept;
  }
  bool bookmark(store::Revision, bool initial_end) override {
    events.push_back(initial_end ? "BOOKMARK end" : "BOOKMARK");
    return true;
  }
  void ended(Error why) override { events.push_back("ERROR " + std::to_string(why.code)); }
};

TEST(Api, WatchFromNowSeesInitialStateThenChanges) {
  World w;
  w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"a"}})");
  Recorder seen;
  auto r = w.request("watch", "", "v1", "configmaps", "default");
  auto watch = w.api.watch(r, w.executor, seen);
  ASSERT_TRUE(watch.has_value());
  w.executor.run_until_idle();
  w.put("", "v1", "configmaps", "default", "a", R"({"metadata":{"name":"a"},"data":{"k":"2"}})");
  w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"b"}})");
  w.api.handle_and_wait(w.request("delete", "", "v1", "configmaps", "default", "a"));
  w.executor.run_until_idle();
  EXPECT_EQ(seen.events, (std::vector<std::string>{"ADDED a", "MODIFIED a", "ADDED b", "DELETED a"}));
}

TEST(Api, WatchSelectorTransitionsAndInitialEventsBookmark) {
  World w;
  Recorder seen;
  auto r = w.request("watch", "", "v1", "configmaps", "default");
  r.list.label_selector = "on=1";
  r.list.allow_watch_bookmarks = true;
  r.list.send_initial_events = true;
  r.list.resource_version_match = "NotOlderThan";
  auto watch = w.api.watch(r, w.executor, seen);
  w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"a"}})");
  w.put("", "v1", "configmaps", "default", "a", R"({"metadata":{"name":"a","labels":{"on":"1"}}})");
  w.put("", "v1", "configmaps", "default", "a", R"({"metadata":{"name":"a","labels":{"on":"1","x":"y"}}})");
  w.put("", "v1", "configmaps", "default", "a", R"({"metadata":{"name":"a","labels":{"on":"2"}}})");
  w.executor.run_until_idle();
  EXPECT_EQ(seen.events, (std::vector<std::string>{"BOOKMARK end", "ADDED a", "MODIFIED a", "DELETED a"}));
}

TEST(Api, SlowWatcherCatchesUpAndTooOldIsTold) {
  World w;
  Recorder seen;
  seen.accept = 2;
  auto r = w.request("watch", "", "v1", "configmaps", "default");
  auto watch = w.api.watch(r, w.executor, seen);
  for (int i = 0; i < 6; ++i)
    w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"c)" + std::to_string(i) + R"("}})");
  w.executor.run_until_idle();
  EXPECT_EQ(seen.events.size(), 2u);
  seen.accept = SIZE_MAX;
  (*watch)->resume();
  w.executor.run_until_idle();
  EXPECT_EQ(seen.events.size(), 6u);
  r.list.resource_version = "999999";
  EXPECT_EQ(w.api.watch(r, w.executor, seen).error().code, 504);
  r.list.resource_version = "nonsense";
  EXPECT_EQ(w.api.watch(r, w.executor, seen).error().code, 400);
}

// What the history holds is bounded by the size of the objects; encodings that nobody holds would multiply that.
TEST(Api, EncodingsGoWhenEveryWatcherHasThem) {
  struct Encoding final : Recorder {
    std::vector<std::weak_ptr<const std::string>> made;
    bool deliver(EventType type, WatchItem& item) override {
      made.push_back(item.encoded(type, "json", [](std::string& out) { out = "text"; }));
      return Recorder::deliver(type, item);
    }
  };
  World w;
  Encoding first, second;
  first.accept = 2;
  auto r = w.request("watch", "", "v1", "configmaps", "default");
  r.list.resource_version = std::to_string(w.store->revision());
  auto watch = w.api.watch(r, w.executor, first);
  for (const char* name : {"a", "b", "c"})
    w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":")" + std::string(name) + R"("}})");
  auto late = w.api.watch(r, w.executor, second);
  w.executor.run_until_idle();
  (*watch)->resume();
  w.executor.run_until_idle();
  EXPECT_EQ(first.made.size() + second.made.size(), 6u);
  for (const auto* watcher : {&first, &second})
    for (const auto& encoding : watcher->made) EXPECT_TRUE(encoding.expired());
}

TEST(Api, ServicesGetAddressesOnceAndGiveThemBack) {
  World w;
  const auto one = w.make("", "v1", "services", "default",
                          R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80}]}})");
  ASSERT_EQ(one.status, 201) << text(one);
  const std::string ip = at(one, "spec.clusterIP");
  EXPECT_TRUE(ip.starts_with("10.")) << ip;
  const auto chosen = w.make("", "v1", "services", "default",
                             R"({"metadata":{"name":"t"},"spec":{"clusterIP":")" + ip + R"(","ports":[{"port":80}]}})");
  EXPECT_EQ(chosen.status, 422);
  EXPECT_NE(at(chosen, "message").find("provided IP is already allocated"), std::string::npos) << text(chosen);
  const auto kept = w.put("", "v1", "services", "default", "s",
                          R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80}]}})");
  EXPECT_EQ(at(kept, "spec.clusterIP"), ip);
  EXPECT_EQ(at(kept, "spec.ports"), at(one, "spec.ports"));
  w.api.handle_and_wait(w.request("delete", "", "v1", "services", "default", "s"));
  const auto again = w.make("", "v1", "services", "default",
                            R"({"metadata":{"name":"t"},"spec":{"clusterIP":")" + ip + R"(","ports":[{"port":80}]}})");
  EXPECT_EQ(again.status, 201) << text(again);
}

// A port that a service does not hold must not be given back when the service goes.
TEST(Api, HealthCheckPortsAreClaimedLikeNodePorts) {
  World w;
  const auto service = [&](std::string name, std::string spec) {
    return w.make("", "v1", "services", "default",
                  R"({"metadata":{"name":")" + name + R"("},"spec":{"ports":[{"port":80}],)" + spec + "}}");
  };
  const std::string balanced = R"("type":"LoadBalancer","externalTrafficPolicy":"Local","healthCheckNodePort":)";
  EXPECT_EQ(at(service("a", balanced + "31234"), "spec.healthCheckNodePort"), "31234");
  const auto second = service("b", balanced + "31234");
  EXPECT_NE(at(second, "message").find("spec.healthCheckNodePort: Invalid value: 31234: provided port is already"),
            std::string::npos)
      << text(second);
  const auto plain = service("b", R"("healthCheckNodePort":31234)");
  EXPECT_NE(at(plain, "message").find("spec.healthCheckNodePort: Forbidden: may only be set when `type` is"),
            std::string::npos)
      << text(plain);
  const auto outside = service("b", balanced + "80");
  EXPECT_NE(at(outside, "message").find("provided port is not in the valid range"), std::string::npos) << text(outside);
  // The policy changes: the port goes, and may be had by another.
  const auto open = w.put("", "v1", "services", "default", "a",
                          R"({"metadata":{"name":"a"},"spec":{"type":"LoadBalancer","ports":[{"port":80}],)"
                          R"("externalTrafficPolicy":"Cluster","healthCheckNodePort":31234}})");
  EXPECT_EQ(open.status, 200) << text(open);
  EXPECT_EQ(at(open, "spec.healthCheckNodePort"), "");
  EXPECT_EQ(service("b", balanced + "31234").status, 201);
}

TEST(Api, PodsWaitForTheirNodeToStopThem) {
  World w;
  w.make(
      "", "v1", "pods", "default",
      R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}],"terminationGracePeriodSeconds":30}})");
  const auto chosen = w.put("", "v1", "pods", "default", "p",
                            R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}],)"
                            R"("terminationGracePeriodSeconds":30}})");
  EXPECT_NE(at(chosen, "message").find("spec: Forbidden: pod updates may not change fields"), std::string::npos)
      << text(chosen);
  auto bind = w.request("create", "", "v1", "pods", "default", "p");
  bind.subresource = "binding";
  bind.body = R"({"target":{"kind":"Node","name":"n1"}})";
  EXPECT_EQ(w.api.handle_and_wait(bind).status, 201);
  const auto twice = w.api.handle_and_wait(bind);
  EXPECT_EQ(twice.status, 409) << text(twice);
  EXPECT_EQ(at(w.get("", "v1", "pods", "default", "p"), "spec.nodeName"), "n1");
  const auto soft = w.api.handle_and_wait(w.request("delete", "", "v1", "pods", "default", "p"));
  EXPECT_EQ(at(soft, "metadata.deletionGracePeriodSeconds"), "30") << text(soft);
  auto hard = w.request("delete", "", "v1", "pods", "default", "p");
  hard.remove.grace_period_seconds = 0;
  EXPECT_EQ(at(w.api.handle_and_wait(hard), "status"), "Success");
  EXPECT_EQ(w.get("", "v1", "pods", "default", "p").status, 404);
}

TEST(Api, AGraceOfAgesIsLong) {
  World w;
  w.make("", "v1", "pods", "default",
         R"({"metadata":{"name":"p"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}})");
  auto remove = w.request("delete", "", "v1", "pods", "default", "p");
  remove.remove.grace_period_seconds = INT64_MAX;
  const auto marked = w.api.handle_and_wait(remove);
  EXPECT_EQ(at(marked, "metadata.deletionGracePeriodSeconds"), "1073741824") << text(marked);
  EXPECT_GT(at(marked, "metadata.deletionTimestamp"), "2050") << text(marked);
}

TEST(Path, ABooleanThatIsThereIsTrueUnlessItSaysOtherwise) {
  const auto verb = [](const Query& query) { return parse_route("GET", "/api/v1/pods", query)->verb; };
  for (const char* yes : {"true", "1", "", "yes"}) EXPECT_EQ(verb({{"watch", yes}}), "watch") << yes;
  for (const char* no : {"false", "False", "0"}) EXPECT_EQ(verb({{"watch", no}}), "list") << no;
  EXPECT_EQ(verb({}), "list");
}

TEST(Api, FinalizersHoldAndNamespacesTerminate) {
  World w;
  w.make("", "v1", "configmaps", "default", R"({"metadata":{"name":"a","finalizers":["x.io/f"]}})");
  const auto marked = w.api.handle_and_wait(w.request("delete", "", "v1", "configmaps", "default", "a"));
  EXPECT_NE(at(marked, "metadata.deletionTimestamp"), "");
  const auto gone = w.put("", "v1", "configmaps", "default", "a", R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(gone.status, 200) << text(gone);
  EXPECT_EQ(w.get("", "v1", "configmaps", "default", "a").status, 404);

  w.make("", "v1", "namespaces", "", R"({"metadata":{"name":"n"}})");
  const auto dying = w.api.handle_and_wait(w.request("delete", "", "v1", "namespaces", "", "n"));
  EXPECT_EQ(at(dying, "status.phase"), "Terminating") << text(dying);
  const auto late = w.make("", "v1", "configmaps", "n", R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(late.status, 403);
  EXPECT_EQ(at(late, "message"),
            "configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being "
            "terminated");
  w.put("", "v1", "namespaces", "", "n", R"({"metadata":{"name":"n"},"spec":{}})", "finalize");
  EXPECT_EQ(w.get("", "v1", "namespaces", "", "n").status, 404);
}

TEST(Api, DryRunWritesNothing) {
  World w;
  auto r = w.request("create", "", "v1", "configmaps", "default");
  r.body = R"({"metadata":{"name":"a"}})";
  r.dry_run = true;
  const auto before = w.store->revision();
  EXPECT_EQ(w.api.handle_and_wait(r).status, 201);
  EXPECT_EQ(w.store->revision(), before);
}

TEST(Api, EventsAreOneCollectionInTwoShapes) {
  World w;
  const auto made = w.make(
      "events.k8s.io", "v1", "events", "default",
      R"({"metadata":{"name":"e"},"eventTime":"2025-01-01T00:00:00.000000Z","reportingController":"x.io/c","reportingInstance":"i","action":"A","reason":"R","regarding":{"kind":"Pod","name":"p","namespace":"default"},"note":"hello","type":"Normal"})");
  ASSERT_EQ(made.status, 201) << text(made);
  const auto core = w.get("", "v1", "events", "default", "e");
  EXPECT_EQ(at(core, "message"), "hello");
  EXPECT_EQ(at(core, "involvedObject.name"), "p");
  const auto served = w.get("events.k8s.io", "v1", "events", "default", "e");
  auto document = decode(*served.object);
  ASSERT_TRUE(document.has_value());
  EXPECT_EQ(document->root()->find("note")->string(), "hello");
}

}  // namespace
}  // namespace dure::apiserver
