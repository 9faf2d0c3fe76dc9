// The API over real TLS, as transcripts: src/apiserver/transcripts/*.http hold requests with their whole answers. With
// DURE_REWRITE=1 in the environment the answers are replaced by what was seen; review the difference.
//
//   # comment
//   POST /api/v1/namespaces/default/configmaps   Content-Type: application/yaml   Accept: ...
//   | a line of the body                          ("| <spaces:N>" stands for N spaces)
//   201 application/json                          the answer: status, content type, warning headers
//   {"kind":...}                                  its body; uids, times and versions read UID, TIME, RV
#include "apiserver/front.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "schema/json.h"
#include "store/store.h"
#include "wire/test_server.h"

namespace dure::apiserver {
namespace {

struct Server {
  std::unique_ptr<store::Store> store = store::make_memory_store();
  std::unique_ptr<run::Executor> pool = run::make_pool("pool", 1);
  std::unique_ptr<os::Random> random = os::make_seeded_random(11);
  Api api{*store, *pool, *random};
  Front front{api, {.authenticate = who, .checks = {{"etcd", [] { return Status{}; }}}}};
  wire::TestServer http{front.handler(), {.refusal = Front::refusal}};
  std::unique_ptr<wire::HttpClient> client = http.client();

  Server() {
    // eve may do nothing, everybody else everything
    ApiGuards guards;
    guards.authorize = [](const User& user, const Attributes&) { return Verdict{user.name != "eve", ""}; };
    guards.collections["/componentstatuses"] = components;
    api.set_guards(std::move(guards));
    call("POST", "/api/v1/namespaces", R"({"metadata":{"name":"default"}})");
  }

  static std::vector<schema::Document> components() {
    std::vector<schema::Document> all;
    for (const char* name : {"scheduler", "etcd-0"}) {
      const kinds::core_v1::ComponentStatus one(all.emplace_back(kinds::core_v1::ComponentStatus::schema_type()));
      one.set_kind("ComponentStatus");
      one.set_apiVersion("v1");
      one.mutable_metadata().set_name(name);
      const auto healthy = one.add_conditions();
      healthy.set_type("Healthy");
      healthy.set_status(name == std::string_view("etcd-0") ? "False" : "True");
      if (name == std::string_view("etcd-0")) healthy.set_error("the disk is full");
    }
    return all;
  }

  static Result<std::shared_ptr<const User>> who(const wire::Request& request) {
    const std::string_view header = request.headers.get("authorization");
    if (header.empty()) return std::make_shared<const User>(User{.name = "alice"});
    if (header == "Bearer eve") return std::make_shared<const User>(User{.name = "eve"});
    return fail(unauthorized());
  }

  wire::Response call(std::string method, std::string target, std::string body, wire::Headers headers = {}) {
    wire::Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers = std::move(headers);
    request.body = std::move(body);
    auto response = client->call(std::move(request));
    if (!response) return {0, {}, response.error().message};
    return std::move(*response);
  }
};

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool is_uid(std::string_view s) {
  if (s.size() < 36) return false;
  for (size_t i = 0; i < 36; ++i)
    if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !is_hex(s[i])) return false;
  return true;
}

bool is_time(std::string_view s) {
  return s.size() >= 20 && s.substr(0, 2) == "20" && s[4] == '-' && s[10] == 'T' && s[13] == ':' && s[19] == 'Z';
}

// What differs from run to run gets a name.
std::string masked(std::string text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = std::string_view(text).substr(i);
    constexpr std::string_view version = "\"resourceVersion\":\"";
    if (is_uid(rest)) {
      out += "UID";
      i += 36;
    } else if (is_time(rest)) {
      out += "TIME";
      i += 20;
    } else if (rest.starts_with(version)) {
      out += std::string(version) + "RV";
      i += version.size();
      while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    } else {
      out += text[i++];
    }
  }
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

struct Step {
  std::vector<std::string> comments;
  std::string request;
  std::vector<std::string> body;
  std::string answer;
};

std::vector<Step> read_steps(const std::string& path) {
  std::ifstream file(path);
  std::vector<Step> steps(1);
  bool in_answer = false;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) {
      if (!steps.back().request.empty()) steps.emplace_back();
      in_answer = false;
    } else if (line[0] == '#') {
      steps.back().comments.push_back(line);
    } else if (steps.back().request.empty()) {
      steps.back().request = line;
    } else if (line.starts_with("| ") && !in_answer) {
      steps.back().body.push_back(line.substr(2));
    } else {
      in_answer = true;
      steps.back().answer += line + "\n";
    }
  }
  if (steps.back().request.empty() && steps.back().comments.empty()) steps.pop_back();
  return steps;
}

std::string body_text(const std::vector<std::string>& lines) {
  std::string body;
  for (const std::string& line : lines) {
    if (line.starts_with("<spaces:"))
      body += std::string(std::stoul(line.substr(8)), ' ');
    else
      body += line + (lines.size() > 1 ? "\n" : "");
  }
  return body;
}

std::string run_step(Server& server, const Step& step) {
  std::vector<std::string> parts;
  std::string rest = step.request;
  for (size_t at; (at = rest.find("   ")) != std::string::npos; rest = std::string(trim(rest.substr(at))))
    parts.push_back(rest.substr(0, at));
  parts.push_back(rest);
  const size_t space = parts[0].find(' ');
  wire::Headers headers;
  for (size_t i = 1; i < parts.size(); ++i) {
    const size_t colon = parts[i].find(':');
    headers.add(lower(parts[i].substr(0, colon)), trim(parts[i].substr(colon + 1)));
  }
  const wire::Response response =
      server.call(parts[0].substr(0, space), parts[0].substr(space + 1), body_text(step.body), std::move(headers));
  std::string answer = std::to_string(response.status) + " " + std::string(response.headers.get("content-type")) + "\n";
  for (const std::string_view warning : response.headers.all("warning"))
    answer += "warning: " + std::string(warning) + "\n";
  for (const std::string_view seconds : response.headers.all("retry-after"))
    answer += "retry-after: " + std::string(seconds) + "\n";
  const std::string body = masked(response.body);
  return body.empty() ? answer : answer + body + "\n";
}

void run_transcript(const std::string& path) {
  Server server;
  std::vector<Step> steps = read_steps(path);
  const bool rewrite = std::getenv("DURE_REWRITE") != nullptr;
  std::string rewritten;
  for (Step& step : steps) {
    const std::string seen = step.request.empty() ? "" : run_step(server, step);
    if (!rewrite) EXPECT_EQ(seen, step.answer) << path << ": " << step.request;
    for (const std::string& comment : step.comments) rewritten += comment + "\n";
    if (!step.request.empty()) rewritten += step.request + "\n";
    for (const std::string& line : step.body) rewritten += "| " + line + "\n";
    rewritten += seen + "\n";
  }
  if (!rewrite) return;
  rewritten.pop_back();
  std::ofstream(path) << rewritten;
}

TEST(Front, Transcripts) {
  size_t count = 0;
  for (const auto& file : std::filesystem::directory_iterator("src/apiserver/transcripts")) {
    if (file.path().extension() != ".http") continue;
    run_transcript(file.path().string());
    ++count;
  }
  EXPECT_GE(count, 5u);
}

TEST(Front, LargeListsAreStreamedWhole) {
  Server server;
  const std::string data(4000, 'x');
  for (int i = 0; i < 300; ++i)
    server.call("POST", "/api/v1/namespaces/default/configmaps",
                R"({"metadata":{"name":"c)" + std::to_string(1000 + i) + R"("},"data":{"d":")" + data + R"("}})");
  const auto list = server.call("GET", "/api/v1/configmaps", "");
  EXPECT_EQ(list.status, 200);
  EXPECT_GT(list.body.size(), 300u * 4000u);
  EXPECT_TRUE(list.body.ends_with("]}\n"));
  size_t names = 0;
  for (size_t at = 0; (at = list.body.find("\"name\":\"c1", at)) != std::string::npos; ++at) ++names;
  EXPECT_EQ(names, 300u);
}

struct Lines {
  std::mutex mutex;
  std::condition_variable changed;
  std::string text;
  bool ended = false;

  bool wait_for(std::string_view part) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] { return text.find(part) != std::string::npos; });
  }
  bool wait_end() {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] { return ended; });
  }
};

std::unique_ptr<run::Timer> open_watch(Server& server, Lines& lines, std::string target, std::string accept = "") {
  wire::Request request;
  request.target = std::move(target);
  if (!accept.empty()) request.headers.add("accept", accept);
  wire::HttpClient::Streaming callbacks;
  callbacks.on_start = [](int, const wire::Headers&) {};
  callbacks.on_data = [&lines](std::string_view bytes) {
    const std::scoped_lock lock(lines.mutex);
    lines.text += bytes;
    lines.changed.notify_all();
  };
  callbacks.on_end = [&lines](Result<void>) {
    const std::scoped_lock lock(lines.mutex);
    lines.ended = true;
    lines.changed.notify_all();
  };
  return server.client->stream(std::move(request), std::move(callbacks));
}

TEST(Front, WatchesStreamEventsAndEndInTime) {
  Server server;
  Lines lines;
  auto watch = open_watch(server, lines, "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=2");
  server.call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"}})");
  EXPECT_TRUE(
      lines.wait_for(R"({"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a")"));
  server.call("DELETE", "/api/v1/namespaces/default/configmaps/a", "");
  EXPECT_TRUE(lines.wait_for(R"({"type":"DELETED")"));
  EXPECT_TRUE(lines.wait_end());
}

TEST(Front, WatchListEndsTheInitialListWithABookmark) {
  Server server;
  server.call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"}})");
  Lines lines;
  auto watch = open_watch(
      server, lines,
      "/api/v1/"
      "configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
  EXPECT_TRUE(lines.wait_for(R"("annotations":{"k8s.io/initial-events-end":"true"})"));
  EXPECT_LT(lines.text.find("ADDED"), lines.text.find("BOOKMARK"));
}

TEST(Front, WatchesOfTablesAndMetadata) {
  Server server;
  Lines table, partial, proto;
  auto one = open_watch(server, table, "/api/v1/configmaps?watch=1", "application/json;as=Table;v=v1;g=meta.k8s.io");
  auto two = open_watch(server, partial, "/api/v1/configmaps?watch=1",
                        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
  auto three =
      open_watch(server, proto, "/api/v1/configmaps?watch=1", "application/vnd.kubernetes.protobuf;stream=watch");
  server.call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"},"data":{"k":"v"}})");
  EXPECT_TRUE(table.wait_for(R"("rows":[{"cells":["a")"));
  EXPECT_TRUE(
      partial.wait_for(R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a")"));
  EXPECT_EQ(partial.text.find("\"data\""), std::string::npos);
  EXPECT_TRUE(proto.wait_for("k8s"));
  EXPECT_EQ(proto.text.substr(4, 7),
            "\x0a\x05"
            "ADDED");
}

TEST(Front, AWatchFromAForgottenRevisionIsToldInTheStream) {
  store::HistoryLimits tiny{.events_max = 4};
  auto store = store::make_memory_store(tiny);
  auto pool = run::make_pool("pool", 1);
  auto random = os::make_seeded_random(1);
  Api api(*store, *pool, *random, {.watch = {.events_max = 4}});
  api.set_guards({.authorize = [](const User&, const Attributes&) { return Verdict{true, ""}; }});
  Front front(api, {});
  wire::TestServer http(front.handler());
  auto client = http.client();
  const auto post = [&](std::string target, std::string body) {
    wire::Request request{.method = "POST", .target = std::move(target)};
    request.body = std::move(body);
    return client->call(std::move(request));
  };
  post("/api/v1/namespaces", R"({"metadata":{"name":"default"}})").value();
  for (int i = 0; i < 20; ++i)
    post("/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"c)" + std::to_string(i) + R"("}})").value();
  wire::Request request{.target = "/api/v1/configmaps?watch=1&resourceVersion=3"};
  const auto answer = client->call(std::move(request)).value();
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.body.starts_with(R"({"type":"ERROR","object":{"kind":"Status")")) << answer.body;
  EXPECT_NE(answer.body.find(R"("reason":"Expired","code":410)"), std::string::npos) << answer.body;
}

// Every reference of a document leads to a schema in it.
void check_references(const schema::Node* node, const schema::Node* schemas, std::string_view where) {
  if (node->key() == "$ref" && node->is_string()) {
    const std::string_view name = node->string().substr(node->string().rfind('/') + 1);
    EXPECT_NE(schemas->find(name), nullptr) << where << ": " << name;
  }
  for (const schema::Node* child = node->first(); child; child = child->next()) check_references(child, schemas, where);
}

TEST(Front, OpenApiDocumentsAreWhole) {
  Server server;
  const auto index = schema::decode_json(SharedBytes(server.call("GET", "/openapi/v3", "").body)).value();
  size_t count = 0;
  for (const schema::Node* path = index.root()->find("paths")->first(); path; path = path->next(), ++count) {
    const std::string url(path->find("serverRelativeURL")->string());
    const auto document = schema::decode_json(SharedBytes(server.call("GET", url, "").body));
    ASSERT_TRUE(document) << url << ": " << document.error().message;
    check_references(document->root(), document->root()->find("components", "schemas"), url);
  }
  EXPECT_GT(count, 15u);
  const auto two = schema::decode_json(SharedBytes(server.call("GET", "/openapi/v2", "").body));
  ASSERT_TRUE(two) << two.error().message;
  check_references(two->root(), two->root()->find("definitions"), "/openapi/v2");
}

// What kubectl apply asks for when it is given a `kind: List`, or a kind that is not served.
TEST(Front, OpenApiTwoIsThereForKubectl) {
  Server server;
  wire::Headers headers;
  headers.add("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
  const auto answer = server.call("GET", "/openapi/v2", "", headers);
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_TRUE(answer.body.starts_with("\x0a\x03" "2.0\x12")) << answer.body;
}

}  // namespace
}  // namespace dure::apiserver
