// What every Runtime must do, as one suite for all implementations: `check_runtime(runtime, image, host)`.
// `image` must be on the node and its command must run `sleep`; only for tests.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "cri/runtime.h"
#include "cri/views/cri_v1.h"

namespace dure::cri {

struct RuntimeSubject {
  Runtime& runtime;
  std::string image;
  std::string log_root;                 // an existing folder the runtime may write into
  std::function<void()> pause = [] {};  // lets time pass: real sleep, or virtual time; a second or so
  bool host_network = false;            // sandboxes on the host network, where no CNI is there
};

class RuntimeCheck {
 public:
  explicit RuntimeCheck(RuntimeSubject subject) : subject_(std::move(subject)) {}

  void all() {
    speaks_its_version();
    unknown_things_are_not_found();
    std::string sandbox = sandbox_lives();
    containers_live_and_die(sandbox);
    stopped_sandboxes_stop_their_containers(sandbox);
    removal_is_idempotent(sandbox);
  }

 private:
  template <class Request>
  Result<schema::Document> call(const char* method, std::function<void(schema::Document&, Request)> fill = {}) {
    schema::Document request(Request::schema_type());
    if (fill) fill(request, Request(request));
    return subject_.runtime.call(method, request, std::chrono::seconds(60));
  }

  void speaks_its_version() {
    auto answer = call<v1::VersionRequest>("Version");
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_FALSE(v1::VersionResponse(*answer).runtime_name().empty());
    auto status = call<v1::StatusRequest>("Status");
    ASSERT_TRUE(status) << status.error().message;
    bool ready = false;
    for (v1::RuntimeCondition c : v1::StatusResponse(*status).status().conditions())
      ready = ready || (c.type() == "RuntimeReady" && c.status());
    EXPECT_TRUE(ready);
  }

  void unknown_things_are_not_found() {
    auto status =
        call<v1::ContainerStatusRequest>("ContainerStatus", [](auto&, auto r) { r.set_container_id("nothing"); });
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().reason, "NotFound") << status.error().message;
    auto image = call<v1::ImageStatusRequest>(
        "ImageStatus", [](auto&, auto r) { r.mutable_image().set_image("localhost/no-such-image:1"); });
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_TRUE(v1::ImageStatusResponse(*image).image().id().empty());
    EXPECT_FALSE(subject_.runtime.call("NoSuchCall", schema::Document(v1::VersionRequest::schema_type()),
                                       std::chrono::seconds(5)));
  }

  void fill_sandbox(v1::PodSandboxConfig config) {
    auto metadata = config.mutable_metadata();
    metadata.set_name("conformance");
    metadata.set_uid("uid-conformance");
    metadata.set_namespace("default");
    config.set_log_directory(subject_.log_root + "/conformance");
    config.set_labels("io.kubernetes.pod.uid", "uid-conformance");
    auto options = config.mutable_linux().mutable_security_context().mutable_namespace_options();
    if (subject_.host_network)
      options.set_network(v1::NODE);
    else
      config.set_hostname("conformance");
    options.set_pid(v1::CONTAINER);
  }

  std::string sandbox_lives() {
    auto answer =
        call<v1::RunPodSandboxRequest>("RunPodSandbox", [&](auto&, auto r) { fill_sandbox(r.mutable_config()); });
    if (!answer) {
      ADD_FAILURE() << answer.error().message;
      return {};
    }
    const std::string id(v1::RunPodSandboxResponse(*answer).pod_sandbox_id());
    EXPECT_FALSE(id.empty());
    auto again =
        call<v1::RunPodSandboxRequest>("RunPodSandbox", [&](auto&, auto r) { fill_sandbox(r.mutable_config()); });
    EXPECT_FALSE(again) << "the same name and attempt twice";
    auto status =
        call<v1::PodSandboxStatusRequest>("PodSandboxStatus", [&](auto&, auto r) { r.set_pod_sandbox_id(id); });
    EXPECT_TRUE(status && v1::PodSandboxStatusResponse(*status).status().state() == v1::SANDBOX_READY);
    auto list = call<v1::ListPodSandboxRequest>("ListPodSandbox", [&](auto&, auto r) {
      r.mutable_filter().set_label_selector("io.kubernetes.pod.uid", "uid-conformance");
    });
    EXPECT_TRUE(list && v1::ListPodSandboxResponse(*list).items().size() == 1);
    return id;
  }

  std::string create(const std::string& sandbox, uint32_t attempt, const char* command) {
    auto answer = call<v1::CreateContainerRequest>("CreateContainer", [&](auto&, auto r) {
      r.set_pod_sandbox_id(sandbox);
      auto config = r.mutable_config();
      config.mutable_metadata().set_name("main");
      config.mutable_metadata().set_attempt(attempt);
      config.mutable_image().set_image(subject_.image);
      for (const char* word : {"/bin/sh", "-c"}) config.add_command(word);
      config.add_command(command);
      config.set_labels("io.kubernetes.container.name", "main");
      config.set_annotations("io.kubernetes.container.restartCount", std::to_string(attempt));
      config.set_log_path("main-" + std::to_string(attempt) + ".log");
      config.mutable_linux().mutable_security_context().mutable_namespace_options().set_network(
          subject_.host_network ? v1::NODE : v1::POD);
      config.mutable_linux().mutable_security_context().mutable_namespace_options().set_pid(v1::CONTAINER);
      config.mutable_linux().mutable_resources().set_oom_score_adj(1000);
      fill_sandbox(r.mutable_sandbox_config());
    });
    if (!answer) {
      ADD_FAILURE() << answer.error().message;
      return {};
    }
    return std::string(v1::CreateContainerResponse(*answer).container_id());
  }

  int64_t state_of(const std::string& id, int64_t* exit_code = nullptr) {
    auto answer = call<v1::ContainerStatusRequest>("ContainerStatus", [&](auto&, auto r) { r.set_container_id(id); });
    if (!answer) return -1;
    if (exit_code) *exit_code = v1::ContainerStatusResponse(*answer).status().exit_code();
    return v1::ContainerStatusResponse(*answer).status().state();
  }

  void start(const std::string& id) {
    auto answer = call<v1::StartContainerRequest>("StartContainer", [&](auto&, auto r) { r.set_container_id(id); });
    EXPECT_TRUE(answer) << answer.error().message;
  }

  void containers_live_and_die(const std::string& sandbox) {
    const std::string ends = create(sandbox, 0, "exit 3");
    EXPECT_EQ(state_of(ends), v1::CONTAINER_CREATED);
    start(ends);
    for (int i = 0; i < 20 && state_of(ends) != v1::CONTAINER_EXITED; ++i) subject_.pause();
    int64_t exit_code = 0;
    EXPECT_EQ(state_of(ends, &exit_code), v1::CONTAINER_EXITED);
    EXPECT_EQ(exit_code, 3);
    const std::string runs = create(sandbox, 1, "sleep 1000");
    start(runs);
    EXPECT_EQ(state_of(runs), v1::CONTAINER_RUNNING);
    auto exec = call<v1::ExecSyncRequest>("ExecSync", [&](auto&, auto r) {
      r.set_container_id(runs);
      r.add_cmd("true");
      r.set_timeout(10);
    });
    ASSERT_TRUE(exec) << exec.error().message;
    EXPECT_EQ(v1::ExecSyncResponse(*exec).exit_code(), 0);
    auto stop = call<v1::StopContainerRequest>("StopContainer", [&](auto&, auto r) {
      r.set_container_id(runs);
      r.set_timeout(1);
    });
    EXPECT_TRUE(stop) << stop.error().message;
    EXPECT_EQ(state_of(runs, &exit_code), v1::CONTAINER_EXITED);
    EXPECT_GT(exit_code, 128);
    auto list = call<v1::ListContainersRequest>("ListContainers",
                                                [&](auto&, auto r) { r.mutable_filter().set_pod_sandbox_id(sandbox); });
    EXPECT_TRUE(list && v1::ListContainersResponse(*list).containers().size() == 2);
  }

  void stopped_sandboxes_stop_their_containers(const std::string& sandbox) {
    const std::string runs = create(sandbox, 2, "sleep 1000");
    start(runs);
    auto stop =
        call<v1::StopPodSandboxRequest>("StopPodSandbox", [&](auto&, auto r) { r.set_pod_sandbox_id(sandbox); });
    EXPECT_TRUE(stop) << stop.error().message;
    EXPECT_EQ(state_of(runs), v1::CONTAINER_EXITED);
    auto status =
        call<v1::PodSandboxStatusRequest>("PodSandboxStatus", [&](auto&, auto r) { r.set_pod_sandbox_id(sandbox); });
    EXPECT_TRUE(status && v1::PodSandboxStatusResponse(*status).status().state() == v1::SANDBOX_NOTREADY);
  }

  void removal_is_idempotent(const std::string& sandbox) {
    for (int i = 0; i < 2; ++i) {
      auto remove =
          call<v1::RemovePodSandboxRequest>("RemovePodSandbox", [&](auto&, auto r) { r.set_pod_sandbox_id(sandbox); });
      EXPECT_TRUE(remove) << remove.error().message;
    }
    auto list = call<v1::ListContainersRequest>("ListContainers",
                                                [&](auto&, auto r) { r.mutable_filter().set_pod_sandbox_id(sandbox); });
    EXPECT_TRUE(list && v1::ListContainersResponse(*list).containers().size() == 0);
  }

  RuntimeSubject subject_;
};

}  // namespace dure::cri
