#include "wire/dial_race.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/socket.h"
#include "wire/test_server.h"

namespace dure::wire {
namespace {

// Takes connections and never says a word.
class Silent {
 public:
  ~Silent() { close(listener_); }
  Way way() const { return {"https://127.0.0.1:" + std::to_string(*local_port(listener_)), {}}; }

 private:
  const int listener_ = *listen_socket("127.0.0.1:0");
};

// Nobody listens there.
Way closed_way() {
  const int listener = *listen_socket("127.0.0.1:0");
  const Way way{"https://127.0.0.1:" + std::to_string(*local_port(listener)), {}};
  close(listener);
  return way;
}

class DialRaceTest : public testing::Test {
 protected:
  static Handler saying(std::string text) {
    return [text](std::shared_ptr<Exchange> exchange) { exchange->respond(Response{.body = text}); };
  }
  static Way way_to(const TestServer& server) { return {"https://" + server.address(), {}}; }
  std::unique_ptr<DialRace> race(std::vector<Way> ways, Duration patience = 10s) {
    auto out = DialRace::start(loop_.loop(), {.insecure = true}, Request{.target = "/hello"}, patience);
    out->add(ways);
    return out;
  }
  Duration since_begin() { return loop_.loop().now() - begun_; }

  run::LoopThread loop_{"client"};
  const Monotonic begun_ = loop_.loop().now();
};

TEST_F(DialRaceTest, ASilentWayCostsTheNextAHeadStart) {
  Silent silent;
  TestServer server(saying("hi"));
  const auto racing = race({silent.way(), way_to(server)});
  const auto answer = racing->next();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->way, way_to(server));
  EXPECT_EQ(answer->response.body, "hi");
  EXPECT_GE(since_begin(), DialTurns::head_start);
  EXPECT_LT(since_begin(), 5s);
  // Its connection goes on, also when the race is over.
  EXPECT_EQ(answer->http->call({.target = "/"})->body, "hi");
}

TEST_F(DialRaceTest, WhoFindsItWrongGetsTheNext) {
  TestServer wrong(saying("wrong")), right(saying("right"));
  const auto racing = race({way_to(wrong)});
  ASSERT_EQ(racing->next()->response.body, "wrong");
  racing->add({way_to(wrong), way_to(right)});
  ASSERT_EQ(racing->next()->response.body, "right");
  EXPECT_FALSE(racing->next());
  EXPECT_TRUE(racing->failures().empty());
}

TEST_F(DialRaceTest, WhenNoneAnswersEachSaysWhyInTheirOrder) {
  Silent silent;
  const Way closed = closed_way();
  const Way garbled{"gopher://127.0.0.1:1", {}};
  const auto racing = race({silent.way(), closed, garbled}, 700ms);
  EXPECT_FALSE(racing->next());
  const auto failures = racing->failures();
  ASSERT_EQ(failures.size(), 3u);
  EXPECT_EQ(failures[0].first, silent.way());
  EXPECT_EQ(failures[0].second.message, "no answer within 700ms");
  EXPECT_NE(failures[1].second.message.find("Connection refused"), std::string::npos) << failures[1].second.message;
  EXPECT_EQ(failures[2].first, garbled);
  EXPECT_LT(since_begin(), 5s);
}

TEST_F(DialRaceTest, NoWayIsNoAnswer) { EXPECT_FALSE(race({})->next()); }

TEST_F(DialRaceTest, EndsWhileWaysAreUnderWay) {
  Silent silent;
  TestServer server(saying("hi"));
  race({silent.way(), silent.way(), way_to(server)});
  EXPECT_LT(since_begin(), 5s);
}

}  // namespace
}  // namespace dure::wire
