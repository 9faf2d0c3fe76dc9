#include "wire/grpc.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>

namespace dure::wire {
namespace {

class GrpcTest : public testing::Test {
 protected:
  GrpcTest() {
    path_ = "/tmp/dure_grpc_" + std::to_string(getpid()) + ".sock";
    server_ = Server::listen("unix:" + path_, std::nullopt, {&server_thread_.loop()},
                             [this](std::shared_ptr<Exchange> e) { handle(std::move(e)); })
                  .value();
    http_ = HttpClient::create(client_thread_.loop(), "h2c+unix:" + path_).value();
  }
  ~GrpcTest() override {
    http_.reset();
    server_.reset();
    unlink(path_.c_str());
  }
  void handle(std::shared_ptr<Exchange> exchange) {
    const Request& request = exchange->request();
    const std::string message = request.body.size() >= 5 ? request.body.substr(5) : "";
    if (request.target == "/t.T/Echo") {
      exchange->start(200, {});
      exchange->write(SharedBytes(grpc_frame(message)));
      exchange->finish_with_trailers(grpc_trailers(0));
    } else if (request.target == "/t.T/Many") {
      exchange->start(200, {});
      for (int i = 0; i < 3; ++i)
        exchange->write(SharedBytes(grpc_frame(message + std::to_string(i))));
      exchange->finish_with_trailers(grpc_trailers(0));
    } else {
      Response response;
      response.headers = grpc_trailers(5, "no such thing: 100 % \"gone\"\n");
      exchange->respond(std::move(response));
    }
  }
  // Waits for the end of the stream; the answer is its last message.
  Result<std::string> call(std::string_view method, std::string_view request) {
    std::string answer;
    std::promise<Status> ended;
    const auto handle =
        GrpcClient(*http_).stream(method, request,
                                  {.on_message = [&](std::string_view message) { answer = message; },
                                   .on_end = [&](Status how) { ended.set_value(std::move(how)); }},
                                  5s);
    DURE_CHECK(ended.get_future().get());
    return answer;
  }

  std::string path_;
  run::LoopThread server_thread_{"server"}, client_thread_{"client"};
  std::unique_ptr<Server> server_;
  std::unique_ptr<HttpClient> http_;
};

TEST_F(GrpcTest, UnaryCallsCarryBytes) {
  const std::string message("\x0a\x00\xff binary", 10);
  EXPECT_EQ(call("/t.T/Echo", message).value(), message);
  const std::string big(5 << 20, 'x');
  server_.reset();
  server_ = Server::listen("unix:" + path_, std::nullopt, {&server_thread_.loop()},
                           [this](std::shared_ptr<Exchange> e) { handle(std::move(e)); },
                           {.body_bytes_max = 8 << 20})
                .value();
  EXPECT_EQ(call("/t.T/Echo", big).value().size(), big.size());
}

TEST_F(GrpcTest, ErrorsKeepTheirCodeAndText) {
  const auto answer = call("/t.T/None", "");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, "NotFound");
  EXPECT_EQ(answer.error().code, 404);
  EXPECT_EQ(answer.error().message, "no such thing: 100 % \"gone\"\n");
}

TEST_F(GrpcTest, AMissingServerIsUnavailable) {
  server_.reset();
  const auto gone = call("/t.T/Echo", "");
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().reason, "Unavailable");
}

TEST_F(GrpcTest, ServerStreamsDeliverEachMessage) {
  std::vector<std::string> messages;
  std::promise<Status> ended;
  const auto handle = GrpcClient(*http_).stream(
      "/t.T/Many", "m",
      {.on_message = [&](std::string_view m) { messages.emplace_back(m); },
       .on_end = [&](Status status) { ended.set_value(std::move(status)); }});
  EXPECT_TRUE(ended.get_future().get());
  EXPECT_EQ(messages, (std::vector<std::string>{"m0", "m1", "m2"}));
}

TEST(GrpcReader, CutsMessagesWhereverTheBytesBreak) {
  const std::string bytes = grpc_frame("one") + grpc_frame("") + grpc_frame("three");
  for (size_t step = 1; step < bytes.size(); ++step) {
    GrpcReader reader(100);
    std::vector<std::string> seen;
    for (size_t at = 0; at < bytes.size(); at += step) {
      reader.feed(std::string_view(bytes).substr(at, step));
      for (auto message = reader.next(); message.value(); message = reader.next())
        seen.emplace_back(**message);
    }
    EXPECT_EQ(seen, (std::vector<std::string>{"one", "", "three"}));
    EXPECT_TRUE(reader.empty());
  }
  GrpcReader reader(100);
  reader.feed(std::string("\0\0\0\1\0", 5));
  EXPECT_FALSE(reader.next());
}

}  // namespace
}  // namespace dure::wire
