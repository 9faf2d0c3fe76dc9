#include "tunnel/mux.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "tunnel/packet_queue.h"
#include "wire/test_streams.h"

namespace dure::tunnel {
namespace {

using wire::run_on;

// Two ends over a socket pair, each on a loop of its own. `held` keeps what the far end is given.
class MuxTest : public testing::Test {
 protected:
  void SetUp() override {
    auto [a, b] = wire::stream_pair(near_loop_.loop(), far_loop_.loop());
    Mux::Callbacks near, far;
    near.on_end = [this](const Error& why) { log_.add("near ended: " + why.reason); };
    near.on_down = [this](const Error& why) { log_.add("near down: " + why.reason); };
    far.on_down = [this](const Error& why) { log_.add("far down: " + why.reason); };
    far.on_end = [this](const Error& why) { log_.add("far ended: " + why.reason); };
    far.on_stream = [this](std::unique_ptr<wire::Stream> stream) {
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(stream));
      log_.add("opened");
    };
    far.on_packets = [this](const MuxCore::Packets& packets) { packets_ += packets.items.size(); };
    near_ = Mux::start(std::move(a), true, std::move(near), limits_);
    far_ = Mux::start(std::move(b), false, std::move(far), limits_);
  }
  void TearDown() override {
    near_->close();
    far_->close();
    run_on(near_loop_.loop(), [] {});
    run_on(far_loop_.loop(), [] {});
    held_.clear();
  }
  bool eventually(const std::function<bool()>& condition, int seconds = 10) {
    for (int i = 0; i < seconds * 100; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  // A new connection, between other loops than the first one's.
  void connect_again() {
    auto [a, b] = wire::stream_pair(far_loop_.loop(), near_loop_.loop());
    std::promise<uint64_t> near, far;
    near_->hold(std::nullopt, [&](std::optional<uint64_t> count) { near.set_value(count.value_or(0)); });
    const uint64_t near_has = near.get_future().get();
    far_->hold(near_has, [&](std::optional<uint64_t> count) {
      EXPECT_TRUE(count);
      far.set_value(count.value_or(0));
    });
    const uint64_t far_has = far.get_future().get();
    far_->resume(std::move(b), near_has);
    near_->resume(std::move(a), far_has);
  }
  std::unique_ptr<wire::Stream> open() {
    auto stream = near_->open();
    EXPECT_TRUE(stream);
    (*stream)->start({});
    return std::move(*stream);
  }

  Link::Limits limits_;
  run::LoopThread near_loop_{"near"}, far_loop_{"far"};
  wire::Log log_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<wire::Stream>> held_;
  std::atomic<size_t> packets_ = 0;
  std::shared_ptr<Mux> near_, far_;
};

// A watch next to bulk: the small answer comes while megabytes are on their way.
TEST_F(MuxTest, ASmallStreamDoesNotWaitForABigOne) {
  std::vector<std::unique_ptr<wire::Stream>> big;
  for (int i = 0; i < 8; ++i) {
    big.push_back(open());
    big.back()->write(SharedBytes(std::string(16 << 20, 'x')));
  }
  ASSERT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex_);
    return held_.size() == 8;
  }));
  size_t got = 0;
  std::mutex got_mutex;
  for (auto& stream : held_) {
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [&](std::string_view bytes) {
      const std::lock_guard lock(got_mutex);
      got += bytes.size();
    };
    stream->start(std::move(callbacks));
  }
  auto small = open();
  small->write(SharedBytes("event"));
  ASSERT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex_);
    return held_.size() == 9;
  }));
  wire::Log seen;
  size_t before = 0;
  wire::Stream::Callbacks callbacks;
  callbacks.on_data = [&](std::string_view bytes) {
    {
      const std::lock_guard lock(got_mutex);
      before = got;
    }
    seen.add(std::string(bytes));
  };
  held_.back()->start(std::move(callbacks));
  ASSERT_TRUE(seen.wait_for("event"));
  EXPECT_LT(before, 8u * (16u << 20) * 3 / 4) << "the event came after nearly everything else";
  held_.clear();
}

// Nobody reads what the peer sends: memory stays below the stated bound, the connection lives, and one stream pays.
TEST_F(MuxTest, WhatNobodyReadsIsBounded) {
  std::vector<std::unique_ptr<wire::Stream>> streams;
  const size_t count = MuxCore::held_bytes_max / MuxCore::window + 8;
  std::atomic<int> reset = 0;
  for (size_t i = 0; i < count; ++i) {
    auto stream = near_->open();
    ASSERT_TRUE(stream);
    wire::Stream::Callbacks callbacks;
    callbacks.on_close = [&](Error) { ++reset; };
    (*stream)->start(std::move(callbacks));
    (*stream)->write(SharedBytes(std::string(MuxCore::window * 2, 'x')));
    streams.push_back(std::move(*stream));
  }
  ASSERT_TRUE(eventually([&] { return reset > 0; }));
  EXPECT_LE(far_->held_bytes(), MuxCore::held_bytes_max);
  EXPECT_LE(reset, 9);
  EXPECT_TRUE(near_->alive());
  // What goes with a stream makes room again. (Some may still be on their way.)
  EXPECT_TRUE(eventually([&] {
    decltype(held_) gone;
    const std::lock_guard lock(mutex_);
    gone.swap(held_);
    return far_->held_bytes() == 0;
  }));
  auto again = open();
  again->write(SharedBytes("x"));
  EXPECT_TRUE(eventually([&] { return far_->held_bytes() == 1; })) << far_->held_bytes();
  streams.clear();
}

TEST_F(MuxTest, PacketsPassWhileStreamsAreFull) {
  auto bulk = open();
  bulk->write(SharedBytes(std::string(8 << 20, 'x')));  // nobody reads it: the window is all that goes
  for (int i = 0; i < 100; ++i) {
    std::string frame;
    MuxCore::append_packet(frame, 7, std::string(1400, 'p'));
    near_->send_packets(std::move(frame), 1);
  }
  EXPECT_TRUE(eventually([&] { return packets_ == 100; })) << packets_;
}

// Megabytes both ways while one connection after the other breaks: every byte comes once, in order.
TEST_F(MuxTest, StreamsGoOnOverTheNextConnection) {
  constexpr size_t size = 24 << 20;
  const auto text = [](char first) {
    std::string out(size, first);
    for (size_t i = 0; i < size; i += 7) out[i] = static_cast<char>('0' + (i / 7) % 61);
    return out;
  };
  const std::string to_far = text('a'), to_near = text('b');
  std::string at_far, at_near;
  std::atomic<size_t> far_size = 0, near_size = 0;
  auto stream = near_->open();
  ASSERT_TRUE(stream);
  (*stream)->start({.on_data =
                        [&](std::string_view bytes) {
                          at_near += bytes;
                          near_size = at_near.size();
                        },
                    .on_end = {},
                    .on_close = {},
                    .on_drained = {}});
  (*stream)->write(SharedBytes(to_far));
  ASSERT_TRUE(log_.wait_for("opened"));
  held_[0]->start({.on_data =
                       [&](std::string_view bytes) {
                         at_far += bytes;
                         far_size = at_far.size();
                       },
                   .on_end = {},
                   .on_close = {},
                   .on_drained = {}});
  held_[0]->write(SharedBytes(to_near));
  int connections = 1;
  for (; far_size < size || near_size < size; ++connections) {
    std::this_thread::sleep_for(std::chrono::milliseconds(connections % 4));
    connect_again();
    ASSERT_LT(connections, 20000);
  }
  EXPECT_GT(connections, 3);
  held_.clear();
  stream->reset();
  EXPECT_TRUE(at_far == to_far);
  EXPECT_TRUE(at_near == to_near);
}

TEST_F(MuxTest, ASessionThatCannotGoOnSaysSo) {
  std::promise<bool> held;
  near_->hold(7, [&](std::optional<uint64_t> count) { held.set_value(count.has_value()); });
  EXPECT_FALSE(held.get_future().get());
  EXPECT_TRUE(near_->up()) << "and nothing has changed";
}

class ShortMuxTest : public MuxTest {
 protected:
  ShortMuxTest() {
    limits_.heartbeat = {.quiet = 50ms, .dead = 300ms, .suspect = 100ms};
    limits_.patience = 500ms;
  }
};

TEST_F(ShortMuxTest, AQuietConnectionLives) {
  std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  EXPECT_TRUE(near_->alive());
  EXPECT_TRUE(far_->alive());
}

// Half-open: the far end's process hangs (its loop does not run), the socket is as open as ever.
TEST_F(ShortMuxTest, SilenceEndsTheConnectionAndNoOtherOneTheStreams) {
  std::promise<void> release;
  auto released = release.get_future().share();
  far_loop_.loop().post([released] { released.wait(); });
  auto stream = near_->open();
  ASSERT_TRUE(stream);
  wire::Log seen;
  (*stream)->start({.on_data = {}, .on_end = {}, .on_close = [&](Error) { seen.add("closed"); }, .on_drained = {}});
  EXPECT_TRUE(log_.wait_for("near down: TunnelSilent", std::chrono::seconds(5)));
  EXPECT_FALSE(near_->up());
  EXPECT_FALSE(near_->closed());
  EXPECT_FALSE(seen.wait_for("closed", std::chrono::milliseconds(50)));
  EXPECT_TRUE(log_.wait_for("near ended: TunnelSilent", std::chrono::seconds(5)));
  EXPECT_TRUE(seen.wait_for("closed", std::chrono::seconds(5)));
  EXPECT_TRUE(near_->closed());
  EXPECT_FALSE(near_->open());
  release.set_value();
}

// Mux's destructor order: callbacks of a stream do not run once its owner let go of it.
TEST_F(MuxTest, NoCallbackAfterTheOwnerLetGo) {
  for (int round = 0; round < 200; ++round) {
    auto stream = near_->open();
    ASSERT_TRUE(stream);
    auto alive = std::make_unique<int>(1);
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [raw = alive.get()](std::string_view) { ++*raw; };
    (*stream)->start(std::move(callbacks));
    (*stream)->write(SharedBytes("x"));
    {
      std::unique_lock lock(mutex_);
      if (!held_.empty()) {
        held_.back()->start({});
        held_.back()->write(SharedBytes("answer"));
      }
    }
    stream->reset();
    alive.reset();
  }
}

TEST(PacketQueue, TheOldestGoAndAreCounted) {
  PacketQueue queue;
  const size_t chunk = 32 << 10, count = PacketQueue::bytes_max / chunk + 4;
  for (size_t i = 0; i < count; ++i)
    EXPECT_EQ(queue.push(std::string(chunk, static_cast<char>('a' + i)), 3), i == 0) << "the reader is woken once";
  EXPECT_EQ(queue.bytes(), PacketQueue::bytes_max);
  EXPECT_EQ(queue.dropped(), 12u);
  EXPECT_EQ(queue.pop()[0], 'a' + 4);
  while (!queue.pop().empty()) {
  }
  EXPECT_EQ(queue.bytes(), 0u);
  EXPECT_TRUE(queue.push("x", 1));
  EXPECT_FALSE(queue.push(std::string(PacketQueue::bytes_max + 1, 'x'), 2));
  EXPECT_EQ(queue.dropped(), 14u);
}

}  // namespace
}  // namespace dure::tunnel
