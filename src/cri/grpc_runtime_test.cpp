// The runtime behind a socket, against a server that plays containerd.
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>

#include "cri/runtime.h"
#include "cri/views/cri_v1.h"
#include "schema/proto.h"
#include "wire/grpc.h"

namespace dure::cri {
namespace {

struct GrpcRuntime : testing::Test {
  GrpcRuntime() {
    server = wire::Server::listen("unix:" + path, std::nullopt, {&server_thread.loop()},
                                  [this](std::shared_ptr<wire::Exchange> e) { answer(std::move(e)); })
                 .value();
    runtime = connect(client_thread.loop(), "unix://" + path);
  }
  ~GrpcRuntime() override {
    runtime.reset();
    server.reset();
    held.clear();
    unlink(path.c_str());
  }

  void answer(std::shared_ptr<wire::Exchange> exchange) {
    const wire::Request& request = exchange->request();
    if (request.target == "/runtime.v1.RuntimeService/Version") {
      deadlines.push_back(std::string(request.headers.get("grpc-timeout")));
      schema::Document version(v1::VersionResponse::type());
      v1::VersionResponse(version).set_runtime_name("played");
      std::string message;
      schema::encode_message(version, message);
      exchange->start(200, {});
      exchange->write(SharedBytes(wire::grpc_frame(message)));
      exchange->finish_with_trailers(wire::grpc_trailers(0));
    } else if (request.target == "/runtime.v1.RuntimeService/GetContainerEvents" && !has_events) {
      exchange->respond({.headers = wire::grpc_trailers(12, "unknown method GetContainerEvents")});
    } else if (request.target.ends_with("/GetContainerEvents") || request.target.ends_with("/Subscribe")) {
      subscribed = request.target + " " + std::string(request.headers.get("containerd-namespace"));
      exchange->start(200, {});
      exchange->finish_with_trailers(wire::grpc_trailers(0));
    } else {
      held.push_back(std::move(exchange));
    }
  }

  const std::string path = "/tmp/dure_cri_" + std::to_string(getpid()) + ".sock";
  // Of the server's thread.
  std::vector<std::string> deadlines;
  std::vector<std::shared_ptr<wire::Exchange>> held;
  std::string subscribed;
  bool has_events = true;
  run::LoopThread server_thread{"server"}, client_thread{"client"};
  std::unique_ptr<wire::Server> server;
  std::unique_ptr<Runtime> runtime;
};

// "TimeoutValue: positive integer as ASCII string of at most 8 digits"; containerd refuses a call with more.
TEST_F(GrpcRuntime, DeadlinesOfDaysAreSpelledInEightDigits) {
  const schema::Document request(v1::VersionRequest::type());
  for (const Duration timeout : {Duration(2s), Duration(72h), Duration(24h * 365 * 100)}) {
    const auto answer = runtime->call("Version", request, timeout);
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(v1::VersionResponse(*answer).runtime_name(), "played");
  }
  ASSERT_EQ(deadlines.size(), 3u);
  for (const std::string& deadline : deadlines) EXPECT_LE(deadline.size(), 9u) << deadline;
}

TEST_F(GrpcRuntime, ACallEndsByItsDeadlineOrWhenItIsInterrupted) {
  const schema::Document request(v1::StopContainerRequest::type());
  const auto late = runtime->call("StopContainer", request, 10ms);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason, "DeadlineExceeded");
  std::promise<Error> ended;
  runtime->call_async("StopContainer", request, 1h,
                      [&](Result<schema::Document> answer) { ended.set_value(std::move(answer).error()); });
  runtime->interrupt_calls();
  EXPECT_EQ(ended.get_future().get().reason, "Canceled");
}

// A stream that is over at once, however well it ended, brings no events: who asked has to know.
TEST_F(GrpcRuntime, AnEventStreamThatEndsAtOnceIsToldAsAnError) {
  const auto none = runtime->events([](const schema::Document&) {}, [](Error) {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason, "Unavailable");
  EXPECT_EQ(subscribed, "/runtime.v1.RuntimeService/GetContainerEvents ");
}

TEST_F(GrpcRuntime, ARuntimeWithoutContainerEventsIsAskedForItsOwn) {
  has_events = false;
  (void)runtime->events([](const schema::Document&) {}, [](Error) {});
  EXPECT_EQ(subscribed, "/containerd.services.events.v1.Events/Subscribe k8s.io");
}

}  // namespace
}  // namespace dure::cri
