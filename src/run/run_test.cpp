#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "run/gate.h"
#include "run/loop.h"
#include "run/virtual_executor.h"

namespace dure::run {
namespace {

TEST(Loop, RunsPostedWorkInTheOrderOfEachThread) {
  LoopThread thread("order");
  std::vector<int> seen;
  std::promise<void> done;
  for (int i = 0; i < 1000; ++i) thread.loop().post([&seen, i] { seen.push_back(i); });
  thread.loop().post([&] { done.set_value(); });
  done.get_future().wait();
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[i], i);
}

TEST(Loop, TakesPostsFromManyThreads) {
  LoopThread thread("many");
  std::atomic<int> count = 0;
  std::promise<void> done;
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t)
    posters.emplace_back([&] {
      for (int i = 0; i < 5000; ++i)
        thread.loop().post([&] {
          if (++count == 20000) done.set_value();
        });
    });
  for (auto& poster : posters) poster.join();
  done.get_future().wait();
  EXPECT_EQ(count, 20000);
}

TEST(Loop, KnowsItsThread) {
  LoopThread thread("mine");
  EXPECT_FALSE(thread.loop().on_loop_thread());
  std::promise<bool> inside;
  thread.loop().post([&] { inside.set_value(thread.loop().on_loop_thread()); });
  EXPECT_TRUE(inside.get_future().get());
}

TEST(Loop, TimersRunInOrderOfTheirDeadlines) {
  LoopThread thread("timers");
  std::vector<int> seen;
  std::promise<void> done;
  auto c = thread.loop().after(30ms, [&] {
    seen.push_back(3);
    done.set_value();
  });
  auto b = thread.loop().after(20ms, [&] { seen.push_back(2); });
  auto a = thread.loop().after(1ms, [&] { seen.push_back(1); });
  done.get_future().wait();
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
}

TEST(Loop, ADestroyedTimerNeverRuns) {
  LoopThread thread("cancel");
  std::atomic<bool> ran = false;
  std::promise<void> done;
  auto later = thread.loop().after(20ms, [&] { done.set_value(); });
  {
    auto dropped = thread.loop().after(1ms, [&] { ran = true; });
  }
  done.get_future().wait();
  EXPECT_FALSE(ran);
}

TEST(Loop, ReadinessFiresOncePerArming) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  LoopThread thread("pipe");
  std::unique_ptr<Readiness> readiness;
  std::promise<void> first, second;
  std::atomic<int> count = 0;
  thread.loop().post([&] {
    readiness = thread.loop().watch(fds[0]);
    readiness->on_readable([&] {
      ++count;
      first.set_value();
    });
  });
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  first.get_future().wait();
  // The byte is still there: arming again reports it again.
  thread.loop().post([&] {
    readiness->on_readable([&] {
      ++count;
      second.set_value();
    });
  });
  second.get_future().wait();
  EXPECT_EQ(count, 2);
  std::promise<void> gone;
  thread.loop().post([&] {
    readiness.reset();
    gone.set_value();
  });
  gone.get_future().wait();
  close(fds[0]);
  close(fds[1]);
}

TEST(Loop, DestroyedReadinessDropsItsWork) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  LoopThread thread("drop");
  std::atomic<bool> ran = false;
  std::promise<void> done;
  thread.loop().post([&] {
    auto readiness = thread.loop().watch(fds[0]);
    readiness->on_readable([&] { ran = true; });
    EXPECT_EQ(write(fds[1], "x", 1), 1);
  });
  auto timer = thread.loop().after(10ms, [&] { done.set_value(); });
  done.get_future().wait();
  EXPECT_FALSE(ran);
  close(fds[0]);
  close(fds[1]);
}

TEST(Loop, WorkThatIsDroppedMayPostOnceMore) {
  auto loop = Loop::create("drop");
  struct PostsWhenDestroyed {
    Loop* loop;
    ~PostsWhenDestroyed() {
      loop->post([] {});
    }
  };
  loop->post([guard = std::make_unique<PostsWhenDestroyed>(loop.get())] {});
  loop.reset();
}

TEST(Pool, RunsSideBySideAndMindsTimers) {
  auto pool = make_pool("pool", 2);
  std::promise<void> a, b, c;
  auto a_done = a.get_future().share();
  // Each waits for the other: only two threads can finish both.
  std::promise<void> meet;
  auto meeting = meet.get_future().share();
  pool->post([&, meeting] {
    meeting.wait();
    a.set_value();
  });
  pool->post([&] { meet.set_value(); });
  a_done.wait();
  auto timer = pool->after(1ms, [&] { b.set_value(); });
  b.get_future().wait();
  auto long_one = pool->after(1h, [] {});
  auto short_one = pool->after(1ms, [&] { c.set_value(); });
  c.get_future().wait();
}

TEST(Pool, DestructionWaitsForRunningWork) {
  std::atomic<bool> finished = false;
  std::promise<void> started;
  {
    auto pool = make_pool("wait", 1);
    pool->post([&] {
      started.set_value();
      std::this_thread::sleep_for(10ms);
      finished = true;
    });
    started.get_future().wait();
  }
  EXPECT_TRUE(finished);
}

TEST(VirtualExecutor, TimeMovesOnlyWhenTold) {
  VirtualExecutor executor;
  const auto start = executor.now();
  const auto wall = executor.wall_now();
  std::vector<int> seen;
  auto b = executor.after(2s, [&] { seen.push_back(2); });
  auto a = executor.after(1s, [&] {
    seen.push_back(1);
    EXPECT_EQ(executor.now() - start, 1s);
  });
  executor.run_until_idle();
  EXPECT_TRUE(seen.empty());
  executor.advance(1500ms);
  EXPECT_EQ(seen, (std::vector<int>{1}));
  executor.advance(1s);
  EXPECT_EQ(seen, (std::vector<int>{1, 2}));
  EXPECT_EQ(executor.now() - start, 2500ms);
  EXPECT_EQ(executor.wall_now() - wall, 2500ms);
  executor.skew_wall(-1h);
  EXPECT_EQ(executor.wall_now() - wall, 2500ms - 1h);
}

std::vector<int> order_of(uint64_t seed) {
  VirtualExecutor executor(seed);
  std::vector<int> seen;
  for (int i = 0; i < 20; ++i) executor.post([&seen, i] { seen.push_back(i); });
  executor.run_until_idle();
  return seen;
}

TEST(VirtualExecutor, OneSeedIsOneOrder) {
  EXPECT_EQ(order_of(7), order_of(7));
  std::set<std::vector<int>> orders;
  for (uint64_t seed = 0; seed < 10; ++seed) orders.insert(order_of(seed));
  EXPECT_GT(orders.size(), 5u);
}

TEST(VirtualExecutor, ALaneKeepsItsOrder) {
  std::set<std::vector<int>> mixed;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    VirtualExecutor executor(seed);
    auto one = executor.make_lane(), two = executor.make_lane();
    std::vector<int> all, first;
    for (int i = 0; i < 5; ++i) {
      one->post([&, i] {
        first.push_back(i);
        all.push_back(i);
      });
      two->post([&, i] { all.push_back(10 + i); });
    }
    executor.run_until_idle();
    EXPECT_EQ(first, (std::vector<int>{0, 1, 2, 3, 4}));
    mixed.insert(all);
  }
  EXPECT_GT(mixed.size(), 5u);
}

// Both are due at once; whichever runs first cancels the other, which waits in its executor's queue by then.
TEST(VirtualExecutor, ADueTimerCanBeCancelledUntilItRuns) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    VirtualExecutor executor(seed);
    int runs = 0;
    std::unique_ptr<Timer> one, two;
    one = executor.after(1s, [&] { ++runs, two.reset(); });
    two = executor.after(1s, [&] { ++runs, one.reset(); });
    executor.advance(2s);
    EXPECT_EQ(runs, 1) << "seed " << seed;
  }
}
TEST(Pool, ADueTimerCanBeCancelledUntilItRuns) {
  auto pool = make_pool("pool", 1);
  std::promise<void> begun, release, over;
  std::atomic<bool> ran = false;
  pool->post([&] {
    begun.set_value();
    release.get_future().wait();
  });
  begun.get_future().wait();  // the one thread is busy: what is due now waits behind what is posted
  std::unique_ptr<Timer> timer = pool->after(Duration::zero(), [&] { ran = true; });
  pool->post([&] { timer.reset(); });
  pool->post([&] { pool->post([&] { over.set_value(); }); });
  release.set_value();
  over.get_future().wait();
  EXPECT_FALSE(ran);
}
TEST(VirtualExecutor, ACancelledTimerIsForgotten) {
  VirtualExecutor executor;
  bool ran = false;
  auto timer = executor.after(1s, [&] { ran = true; });
  timer->cancel();
  EXPECT_EQ(executor.pending_timers(), 0u);
  executor.advance(2s);
  EXPECT_FALSE(ran);
  EXPECT_FALSE(executor.advance_to_next());
}

// Events may still arrive when their receiver, and the executor it used, are on their way out.
TEST(Gate, AShutGateDoesNotTouchWhatIsBehindIt) {
  auto executor = std::make_unique<VirtualExecutor>();
  Gate gate(*executor);
  bool ran = false;
  gate.post([&] { ran = true; });
  gate.close();
  executor->run_until_idle();
  executor.reset();
  gate.post([&] { ran = true; });
  gate.after(1s, [&] { ran = true; })->cancel();
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace dure::run
