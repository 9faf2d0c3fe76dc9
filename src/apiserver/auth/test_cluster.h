// A server without HTTP for tests: memory store, virtual time, Auth attached and guarding, the
// bootstrap objects made.
#pragma once

#include <gtest/gtest.h>

#include "apiserver/api.h"
#include "apiserver/auth/auth.h"
#include "apiserver/auth/bootstrap_policy.h"
#include "apiserver/auth/user.h"
#include "kinds/kinds.h"
#include "os/clock.h"
#include "pki/bootstrap_token.h"
#include "run/virtual_executor.h"
#include "schema/json.h"
#include "store/store.h"

namespace dure::apiserver {

struct TestCluster {
  std::unique_ptr<store::Store> store = store::make_memory_store();
  run::VirtualExecutor executor;
  std::unique_ptr<os::Random> random = os::make_seeded_random(7), auth_random = os::make_seeded_random(8);
  Api api{*store, executor, *random};
  pki::PrivateKey key = *pki::PrivateKey::generate();
  std::string revoked;
  Auth auth{{.token_key = key,
             .issuer = "https://kubernetes.default.svc.cluster.local",
             .revoked = [this](std::string_view credential) { return credential == revoked; }},
            cluster_state_of(api),
            *auth_random};

  TestCluster() {
    const Status attached = auth.attach(api, executor);
    EXPECT_TRUE(attached) << attached.error().message;
    api.set_guards(auth.guards());
    const Status made = ensure_bootstrap_objects(api);
    EXPECT_TRUE(made) << made.error().message;
    settle();
  }

  void settle() { executor.run_until_idle(); }
  WallTime now() { return executor.wall_now(); }

  static UserHandle user(std::string name, std::vector<std::string> groups = {"system:authenticated"}) {
    return std::make_shared<const User>(
        User{.name = std::move(name), .uid = {}, .groups = std::move(groups), .extra = {}});
  }
  static UserHandle node(const std::string& name) {
    return user("system:node:" + name, {"system:nodes", "system:authenticated"});
  }
  UserHandle admin = user("kubernetes-super-admin", {"system:masters", "system:authenticated"});

  // `path`: "pods", "apps/deployments", "serviceaccounts"; of the newest version.
  ApiResponse call(const UserHandle& who, std::string verb, std::string_view path, std::string ns, std::string name,
                   std::string body = "", std::string subresource = "") {
    const size_t slash = path.find('/');
    const Served* served = slash == std::string_view::npos
                               ? api.catalog().find("", path)
                               : api.catalog().find(path.substr(0, slash), path.substr(slash + 1));
    EXPECT_NE(served, nullptr) << path;
    ApiRequest request;
    request.user = who;
    request.verb = std::move(verb);
    request.resource = served->resource;
    request.namespace_ = std::move(ns);
    request.name = std::move(name);
    request.subresource = std::move(subresource);
    request.body = std::move(body);
    ApiResponse response = api.handle_and_wait(std::move(request));
    settle();
    return response;
  }
  ApiResponse make(std::string_view path, std::string ns, std::string body, UserHandle who = nullptr) {
    return call(who ? who : admin, "create", path, std::move(ns), "", std::move(body));
  }
  schema::Document get(std::string_view path, const std::string& ns, const std::string& name) {
    const ApiResponse response = call(admin, "get", path, ns, name);
    EXPECT_FALSE(response.error) << name << ": " << response.error->message;
    return response.object ? *decode(*response.object) : schema::Document();
  }
  static std::string message(const ApiResponse& response) { return response.error ? response.error->message : "good"; }
};

}  // namespace dure::apiserver
