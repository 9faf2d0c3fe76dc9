// store_bench [folder]: what the store can do on this machine, beside what the machine can do. The last line is JSON.
// The disk is measured in the same run and in turns with the store, because its speed changes from minute to minute.
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "os/clock.h"
#include "store/log_store.h"

using namespace dure;
using namespace dure::store;

namespace {

constexpr size_t value_bytes = 1024;

std::unique_ptr<os::Clock> machine_clock = os::make_clock();

double seconds_since(Monotonic start) { return static_cast<double>((machine_clock->now() - start).count()) / 1e9; }

template <class T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  exit(1);
}
void must(Status status) {
  if (status) return;
  std::fprintf(stderr, "%s\n", status.error().message.c_str());
  exit(1);
}

struct Latencies {
  std::vector<double> micros;
  template <class F>
  void time(F work) {
    const Monotonic start = machine_clock->now();
    work();
    micros.push_back(seconds_since(start) * 1e6);
  }
  double percentile(double p) {
    std::sort(micros.begin(), micros.end());
    return micros[static_cast<size_t>(p * static_cast<double>(micros.size() - 1))];
  }
};

Transaction put(int object, size_t bytes = value_bytes, Durability durability = Durability::durable) {
  Write write{.key = fmt::format("/registry/pods/default/pod-{:08}", object),
              .value = SharedBytes(std::string(bytes, 'v')),
              .durability = durability};
  return {{std::move(write)}};
}

struct Report {
  std::string json;
  void line(std::string_view name, double value, std::string_view unit) {
    std::printf("%-52s %12.1f %s\n", std::string(name).c_str(), value, std::string(unit).c_str());
    json += fmt::format("{}\"{}\": {:.1f}", json.empty() ? "" : ", ", name, value);
  }
};

// One client, in turns with a bare write and fdatasync of one block in a file filled before.
void one_client(os::Disk& disk, const std::string& folder, Report& report) {
  auto raw = must(disk.open(folder + "/raw", os::OpenMode::create));
  const std::string zeros(1 << 20, '\0'), block(4096, 'x');
  constexpr uint64_t raw_blocks = 16 << 20 >> 12;
  for (int i = 0; i < 16; ++i) must(raw->write_at(static_cast<uint64_t>(i) << 20, zeros));
  must(raw->sync());
  auto store = must(LogStore::open(folder + "/one", {}, disk));
  Latencies bare, commits;
  uint64_t next = 0;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 100; ++i) {
      bare.time([&] {
        must(raw->write_at(next++ % raw_blocks * 4096, block));
        must(raw->sync());
      });
    }
    for (int i = 0; i < 100; ++i) commits.time([&] { must(commit_and_wait(*store, put(i))); });
  }
  report.line("raw_fdatasync_p50_us", bare.percentile(0.5), "us");
  report.line("raw_fdatasync_p99_us", bare.percentile(0.99), "us");
  Latencies large;
  const std::string batch(17 * 4096, 'x');
  for (uint64_t i = 0; i < 400; ++i) {
    large.time([&] {
      must(raw->write_at(i % 200 * batch.size(), batch));
      must(raw->sync());
    });
  }
  report.line("raw_fdatasync_of_68_KB_p50_us", large.percentile(0.5), "us");
  report.line("durable_commit_1_client_p50_us", commits.percentile(0.5), "us");
  report.line("durable_commit_1_client_p99_us", commits.percentile(0.99), "us");
  report.line("durable_commit_1_client_p50_over_raw_x100", 100 * commits.percentile(0.5) / bare.percentile(0.5), "%");
}

// Each of 64 clients has one commit under way, and begins the next when it is answered.
struct Client {
  LogStore& store;
  std::atomic<bool>& stop;
  std::atomic<int>& running;
  int object;
  Latencies latencies = {};
  Monotonic begun = {};
  void next() {
    begun = machine_clock->now();
    object += 64;
    store.commit(put(object % 64'000), [this](Result<Revision> done) {
      must(std::move(done));
      latencies.micros.push_back(seconds_since(begun) * 1e6);
      if (stop) {
        --running;
      } else {
        next();
      }
    });
  }
};

void many_clients(os::Disk& disk, const std::string& folder, Report& report) {
  auto store = must(LogStore::open(folder + "/many", {}, disk));
  std::atomic<bool> stop = false;
  std::atomic<int> running = 64;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(std::make_unique<Client>(*store, stop, running, i));
  const Monotonic start = machine_clock->now();
  for (auto& client : clients) client->next();
  std::this_thread::sleep_for(3s);
  stop = true;
  while (running > 0) std::this_thread::sleep_for(1ms);
  const double seconds = seconds_since(start);
  Latencies all;
  for (auto& client : clients)
    all.micros.insert(all.micros.end(), client->latencies.micros.begin(), client->latencies.micros.end());
  const auto counters = store->counters();
  report.line("durable_commit_64_clients_per_s", static_cast<double>(counters.transactions) / seconds, "/s");
  report.line("durable_commit_64_clients_p99_us", all.percentile(0.99), "us");
  report.line("durable_commit_64_clients_syncs_per_s", static_cast<double>(counters.syncs) / seconds, "/s");
  report.line(
      "log_bytes_per_value_byte_64_clients_x100",
      100.0 * static_cast<double>(counters.log_bytes) / static_cast<double>(counters.transactions * value_bytes), "%");
}

void many_threads(os::Disk& disk, const std::string& folder, Report& report) {
  auto store = must(LogStore::open(folder + "/threads", {}, disk));
  std::atomic<bool> stop = false;
  const Monotonic start = machine_clock->now();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 64; ++i) {
      threads.emplace_back([&, i] {
        for (int k = i; !stop; k += 64) must(commit_and_wait(*store, put(k % 64'000)));
      });
    }
    std::this_thread::sleep_for(3s);
    stop = true;
  }
  report.line("durable_commit_64_threads_per_s",
              static_cast<double>(store->counters().transactions) / seconds_since(start), "/s");
}

struct Counting : WatchSink {
  size_t events = 0;
  void on_events(Revision, std::span<const Event> some) override { events += some.size(); }
};

void watches(Report& report) {
  auto store = make_memory_store();
  std::vector<Counting> sinks(1000);
  std::vector<std::unique_ptr<Watch>> watches;
  for (Counting& sink : sinks) watches.push_back(must(store->watch("/registry/pods/", 0, sink)));
  const Monotonic start = machine_clock->now();
  for (int i = 0; i < 5000; ++i) must(commit_and_wait(*store, put(i)));
  const double seconds = seconds_since(start);
  size_t delivered = 0;
  for (const Counting& sink : sinks) delivered += sink.events;
  report.line("watch_deliveries_1000_watches_per_s", static_cast<double>(delivered) / seconds, "/s");
}

void memory_commits(Report& report) {
  auto store = make_memory_store();
  const Monotonic start = machine_clock->now();
  for (int i = 0; i < 200'000; ++i) must(commit_and_wait(*store, put(i % 20'000)));
  report.line("memory_store_commits_per_s", 200'000 / seconds_since(start), "/s");
}

// Reading everything again and again beside a writer: what it costs the writer.
void readers(os::Disk& disk, const std::string& folder, Report& report) {
  auto store = must(LogStore::open(folder + "/readers", {}, disk));
  for (int i = 0; i < 10'000; ++i) {
    store->commit(put(i, 4096), [](Result<Revision> done) { must(std::move(done)); });
  }
  must(commit_and_wait(*store, put(0)));
  Latencies ranges, gets, alone, beside;
  for (int i = 0; i < 2000; ++i) alone.time([&] { must(commit_and_wait(*store, put(i))); });
  std::atomic<bool> stop = false;
  std::jthread reader([&] {
    while (!stop) ranges.time([&] { must(store->range({.start = "/registry/", .end = "/registry0"})); });
  });
  for (int i = 0; i < 2000; ++i) beside.time([&] { must(commit_and_wait(*store, put(i))); });
  stop = true;
  reader.join();
  for (int i = 0; i < 100'000; ++i) {
    const std::string key = fmt::format("/registry/pods/default/pod-{:08}", i * 7919 % 10'000);
    gets.time([&] { (void)store->get(key); });
  }
  report.line("range_10000_objects_p50_us", ranges.percentile(0.5), "us");
  report.line("get_p50_ns", gets.percentile(0.5) * 1000, "ns");
  report.line("commit_p50_us_alone", alone.percentile(0.5), "us");
  report.line("commit_p50_us_beside_a_reader_of_everything", beside.percentile(0.5), "us");
  report.line("commit_p99_us_beside_a_reader_of_everything", beside.percentile(0.99), "us");
}

void restart(os::Disk& disk, const std::string& folder, Report& report, bool with_checkpoint) {
  const std::string place = folder + (with_checkpoint ? "/restart-checkpoint" : "/restart-log");
  {
    LogOptions options;
    if (!with_checkpoint) options.checkpoint_log_bytes = 1 << 30;
    auto store = must(LogStore::open(place, options, disk));
    for (int i = 0; i < 10'000; ++i) {
      store->commit(put(i, 4096), [](Result<Revision> done) { must(std::move(done)); });
    }
    must(commit_and_wait(*store, put(0)));
    if (with_checkpoint) {
      store->checkpoint();
      while (store->counters().checkpoints == 0) std::this_thread::sleep_for(1ms);
    }
  }
  Latencies opens;
  for (int i = 0; i < 5; ++i) opens.time([&] { must(LogStore::open(place, {}, disk)); });
  report.line(with_checkpoint ? "restart_10000_objects_of_4_KB_from_checkpoint_ms"
                              : "restart_10000_objects_of_4_KB_from_log_ms",
              opens.percentile(0.5) / 1000, "ms");
}

}  // namespace

int main(int argc, char** argv) {
  std::string pattern = std::string(argc > 1 ? argv[1] : "/tmp") + "/store_bench_" + std::string(6, 'X');
  const std::string folder = mkdtemp(pattern.data());
  auto disk = os::make_disk();
  Report report;
  one_client(*disk, folder, report);
  many_clients(*disk, folder, report);
  many_threads(*disk, folder, report);
  watches(report);
  memory_commits(report);
  readers(*disk, folder, report);
  restart(*disk, folder, report, true);
  restart(*disk, folder, report, false);
  std::printf("{%s}\n", report.json.c_str());
  std::filesystem::remove_all(folder);
}
