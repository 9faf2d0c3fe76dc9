// Requests a second over TLS with one server thread and one client thread, beside the machine's own
// limit: the same number of bytes there and back over a loopback connection with nothing in
// between.
//
//   wire_bench            (Google Benchmark's own flags; --benchmark_format=json for JSON)
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>
#include <thread>

#include "wire/test_server.h"

namespace dure::wire {
namespace {

constexpr size_t body_bytes = 4096;

Handler pod_sized() {
  return [body = std::string(body_bytes, 'x')](std::shared_ptr<Exchange> exchange) {
    Response response{.body = body};
    response.headers.add("content-type", "application/json");
    exchange->respond(std::move(response));
  };
}

Request get_pod() {
  Request request{.target = "/api/v1/namespaces/default/pods/a"};
  request.headers.add("accept", "application/json");
  request.headers.add("user-agent", "wire_bench");
  request.headers.add("authorization", "Bearer 0123456789abcdef0123456789abcdef");
  return request;
}

// CPU the whole process spent (both ends), per request: says more than the rate when the machine is
// busy with other things.
class CpuMeter {
 public:
  explicit CpuMeter(benchmark::State& state) : state_(state), start_(now()) {}
  ~CpuMeter() {
    state_.counters["cpu_us_both_ends"] = (now() - start_) * 1e6 / double(state_.items_processed());
  }

 private:
  static double now() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
      return double(time.tv_sec) + double(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  benchmark::State& state_;
  const double start_;
};

// Keeps `width` calls in flight until `total` are answered.
void keep_calling(HttpClient& client, run::Loop& loop, int width, int total) {
  struct Shared {
    Shared(HttpClient& client, int total) : client(client), to_start(total), to_finish(total) {}
    HttpClient& client;
    std::atomic<int> to_start, to_finish;
    std::vector<std::unique_ptr<run::Timer>> handles;
    std::promise<void> done;
  };
  auto shared = std::make_shared<Shared>(client, total);
  shared->handles.resize(size_t(width));
  std::function<void(size_t)> next = [&next, raw = shared.get()](size_t slot) {
    if (raw->to_start.fetch_sub(1) <= 0) return;
    raw->handles[slot] = raw->client.stream(
        get_pod(),
        {.on_start = {}, .on_data = {}, .on_end = [&next, raw, slot](Result<void> result) {
           DURE_ASSERT(result);
           next(slot);
           if (raw->to_finish.fetch_sub(1) == 1) raw->done.set_value();
         }});
  };
  auto done = shared->done.get_future();
  loop.post([&] {
    for (size_t slot = 0; slot < size_t(width); ++slot) next(slot);
  });
  done.wait();
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void get_4k(benchmark::State& state, const char* scheme, int connections, int width) {
  TestServer server(pod_sized(), {}, std::string_view(scheme) == "https");
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < connections; ++i)
    clients.push_back(std::string_view(scheme) == "https" ? server.client()
                                                          : server.plain_client(scheme));
  for (auto& client : clients) DURE_ASSERT(client->call(get_pod()));
  constexpr int batch = 20'000;
  const CpuMeter meter(state);
  for (auto _ : state) {
    std::vector<std::thread> threads;
    for (auto& client : clients)
      threads.emplace_back(
          [&] { keep_calling(*client, server.client_thread.loop(), width, batch / connections); });
    for (auto& thread : threads) thread.join();
  }
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK_CAPTURE(get_4k, tls_http2_one_connection_32_streams, "https", 1, 32)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(get_4k, tls_http2_8_connections_4_streams, "https", 8, 4)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(get_4k, plain_http1_32_connections, "http", 1, 32)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// One blocking caller, one request after the other: what a controller feels.
void get_4k_blocking(benchmark::State& state) {
  TestServer server(pod_sized());
  const auto client = server.client();
  DURE_ASSERT(client->call(get_pod()));
  const CpuMeter meter(state);
  for (auto _ : state) benchmark::DoNotOptimize(client->call(get_pod()));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(get_4k_blocking)->Unit(benchmark::kMicrosecond)->UseRealTime();

// HTTP/1.1 keep-alive over TLS as an ordinary client does it: 32 connections, one request each in
// flight. The load comes from raw TLS streams, so that the client costs as little as possible.
void get_4k_tls_http1(benchmark::State& state) {
  TestServer server(pod_sized());
  constexpr int connections = 32, batch = 20'000;
  const std::string request =
      "GET /api/v1/namespaces/default/pods/a HTTP/1.1\r\nhost: localhost\r\naccept: "
      "application/json\r\nuser-agent: wire_bench\r\nauthorization: Bearer "
      "0123456789abcdef0123456789abcdef\r\n\r\n";
  const SharedBytes bytes{std::string(request)};
  struct Slot {
    std::unique_ptr<Stream> stream;
    size_t received = 0;
  };
  std::vector<Slot> slots(connections);
  std::atomic<int> to_start = 0, to_finish = 0;
  std::promise<void>* done = nullptr;
  std::atomic<size_t> response_bytes = 0;
  for (auto& slot : slots) {
    slot.stream = dial(server.client_thread.loop(), server.address(),
                       TlsClientConfig{.ca_pem = server.authority.ca_pem()})
                      .value();
    slot.stream->start({.on_data =
                            [&](std::string_view piece) {
                              slot.received += piece.size();
                              if (response_bytes == 0)
                                response_bytes = body_bytes + piece.find("\r\n\r\n") + 4;
                              if (slot.received < response_bytes) return;
                              slot.received -= response_bytes;
                              if (to_start.fetch_sub(1) > 0) slot.stream->write(bytes);
                              if (to_finish.fetch_sub(1) == 1) done->set_value();
                            },
                        .on_end = {},
                        .on_close = {},
                        .on_drained = {}});
  }
  const CpuMeter meter(state);
  for (auto _ : state) {
    std::promise<void> promise;
    done = &promise;
    to_start = batch - connections;
    to_finish = batch;
    for (auto& slot : slots) slot.stream->write(bytes);
    promise.get_future().wait();
  }
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(get_4k_tls_http1)->Unit(benchmark::kMillisecond)->UseRealTime();

// One event written to many watchers, each on a stream of its own; deliveries a second.
void watch_fan_out(benchmark::State& state) {
  std::mutex mutex;
  std::vector<std::shared_ptr<Exchange>> watchers;
  TestServer server([&](std::shared_ptr<Exchange> exchange) {
    exchange->start(200, {});
    exchange->write(SharedBytes(std::string("start")));
    std::lock_guard lock(mutex);
    watchers.push_back(std::move(exchange));
  });
  constexpr int count = 200;
  const size_t event_bytes = 1000;
  std::atomic<size_t> received = 0;
  std::vector<std::unique_ptr<HttpClient>> clients;
  std::vector<std::unique_ptr<run::Timer>> handles;
  for (int i = 0; i < 10; ++i) clients.push_back(server.client());
  for (int i = 0; i < count; ++i)
    handles.push_back(clients[size_t(i) % clients.size()]->stream(
        {.target = "/watch"}, {.on_start = {},
                               .on_data = [&](std::string_view bytes) { received += bytes.size(); },
                               .on_end = [](auto) {}}));
  while (received < size_t(count) * 5) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  received = 0;
  constexpr int events = 100;
  const CpuMeter meter(state);
  size_t expected = 0;
  for (auto _ : state) {
    for (int i = 0; i < events; ++i) {
      const SharedBytes event(std::string(event_bytes, 'e'));
      for (const auto& watcher : watchers) watcher->write(event);
    }
    expected += size_t(events) * count * event_bytes;
    while (received < expected) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  state.SetItemsProcessed(state.iterations() * events * count);
  handles.clear();
  watchers.clear();
}
BENCHMARK(watch_fan_out)->Unit(benchmark::kMillisecond)->UseRealTime();

size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  size_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * size_t(sysconf(_SC_PAGESIZE));
}

// Memory of an idle TLS connection, both ends of it in this process.
void idle_connection(benchmark::State& state) {
  TestServer server(pod_sized());
  constexpr size_t count = 200;
  for (auto _ : state) {
    std::vector<std::unique_ptr<HttpClient>> clients;
    {
      const auto warm = server.client();
      DURE_ASSERT(warm->call(get_pod()));
    }
    const size_t before = resident_bytes();
    for (size_t i = 0; i < count; ++i) {
      clients.push_back(server.client());
      DURE_ASSERT(clients.back()->call(get_pod()));
    }
    state.counters["both_ends_kb"] = double(resident_bytes() - before) / count / 1024;
  }
}
BENCHMARK(idle_connection)->Iterations(1)->Unit(benchmark::kMillisecond)->UseRealTime();

// The machine's limit: the same bytes there and back, nothing parsed, nothing encrypted, `width` in
// flight on one connection each.
void loopback_ping_pong(benchmark::State& state) {
  const int width = int(state.range(0));
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  DURE_ASSERT(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
              listen(listener, 1) == 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::thread server([&] {
    const int fd = accept(listener, nullptr, nullptr);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::string answer(body_bytes + 200, 'x');
    char buffer[200];
    while (recv(fd, buffer, sizeof buffer, MSG_WAITALL) == sizeof buffer)
      if (send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) break;
    close(fd);
  });
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  DURE_ASSERT(connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const std::string request(200, 'q');
  std::string answer(body_bytes + 200, '\0');
  const CpuMeter meter(state);
  for (auto _ : state) {
    for (int i = 0; i < width; ++i)
      benchmark::DoNotOptimize(send(fd, request.data(), request.size(), MSG_NOSIGNAL));
    for (int i = 0; i < width; ++i)
      benchmark::DoNotOptimize(recv(fd, answer.data(), answer.size(), MSG_WAITALL));
  }
  state.SetItemsProcessed(state.iterations() * width);
  close(fd);
  server.join();
  close(listener);
}
BENCHMARK(loopback_ping_pong)->Arg(1)->Arg(16)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace dure::wire

BENCHMARK_MAIN();
