// api_bench [folder] [seconds] [get|watch|list|durable]: the API over TLS with RBAC, client and server in this process,
// beside what the machine can do. The last line is JSON. Reads and watches run over the memory store, durable creates
// over the log in `folder`.
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

#include <fmt/format.h>

#include "apiserver/auth/auth.h"
#include "apiserver/auth/bootstrap_policy.h"
#include "apiserver/auth/user.h"
#include "apiserver/front.h"
#include "apiserver/output.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/disk.h"
#include "pki/certificate.h"
#include "pki/service_account_token.h"
#include "store/log_store.h"

using namespace dure;
using namespace dure::apiserver;

namespace {

std::unique_ptr<os::Clock> machine_clock = os::make_clock();
std::unique_ptr<os::Random> machine_random = os::make_random();

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

double cpu_seconds() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double percentile(std::vector<double>& values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(p * static_cast<double>(values.size() - 1))];
}

// One server with certificates and RBAC, as the real one is wired.
struct World {
  explicit World(std::unique_ptr<store::Store> opened) : store(std::move(opened)) {
    must(auth.attach(api, *pool));
    api.set_guards(auth.guards());
    must(ensure_bootstrap_objects(api));
    allow_bench();
    front = std::make_unique<Front>(
        api, FrontOptions{.authenticate = [this](const wire::Request& r) { return auth.authenticate(r); }});
    pki::CertificateSpec spec;
    spec.subject.common_name = "kube-apiserver";
    spec.names.dns_names = {"localhost"};
    spec.names.ips = {"127.0.0.1"};
    spec.usages = {.server_auth = true, .client_auth = false, .digital_signature = true, .key_encipherment = true};
    const pki::KeyPair pair = issue(spec);
    wire::TlsServerConfig tls{pair.certificate.pem(), pair.key.pem(), authority.certificate().pem()};
    wire::ServerLimits limits;
    limits.refusal = Front::refusal;
    server = must(wire::Server::listen("127.0.0.1:0", tls, {&io.loop()}, front->handler(), limits));
    spec.subject.common_name = "bench";
    spec.usages = {.server_auth = false, .client_auth = true, .digital_signature = true, .key_encipherment = true};
    const pki::KeyPair mine = issue(spec);
    client_tls = {.ca_pem = authority.certificate().pem(),
                  .certificate_pem = mine.certificate.pem(),
                  .key_pem = mine.key.pem(),
                  .server_name = "localhost"};
  }

  pki::KeyPair issue(pki::CertificateSpec spec) {
    spec.not_before = machine_clock->wall_now() - 1h;
    spec.not_after = machine_clock->wall_now() + 24h;
    return must(pki::issue_pair(authority, spec, *machine_random));
  }

  void call(std::string_view group, std::string_view resource, std::string ns, std::string body) {
    ApiRequest request;
    request.user = internal_user("system:apiserver");
    request.verb = "create";
    request.resource = api.catalog().find(group, resource)->resource;
    request.namespace_ = std::move(ns);
    request.body = std::move(body);
    const ApiResponse response = api.handle_and_wait(std::move(request));
    if (response.error && response.error->code != 409) must(Status(fail(*response.error)));
  }

  void allow_bench() {
    call("", "namespaces", "", R"({"metadata":{"name":"bench"}})");
    call("", "serviceaccounts", "bench", R"({"metadata":{"name":"default"}})");
    call(
        "rbac.authorization.k8s.io", "roles", "bench",
        R"({"metadata":{"name":"bench"},"rules":[{"apiGroups":[""],"resources":["pods","configmaps"],"verbs":["*"]}]})");
    call(
        "rbac.authorization.k8s.io", "rolebindings", "bench",
        R"({"metadata":{"name":"bench"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"bench"},)"
        R"("subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"bench"}]})");
  }

  std::unique_ptr<store::Store> store;
  std::unique_ptr<run::Executor> pool = run::make_pool("pool", 1);
  run::LoopThread io{"io"};
  Api api{*store, *pool, *machine_random};
  pki::Authority authority = must(pki::Authority::create("bench-ca", machine_clock->wall_now() - 1h,
                                                         machine_clock->wall_now() + 48h, *machine_random));
  Auth auth{{.token_key = must(pki::PrivateKey::generate()), .issuer = pki::default_issuer("cluster.local")},
            cluster_state_of(api),
            *machine_random};
  std::unique_ptr<Front> front;
  std::unique_ptr<wire::Server> server;
  wire::TlsClientConfig client_tls;
};

// A pod of about 4 KB as it is stored.
std::string pod_body(const std::string& name) {
  std::string env;
  for (int i = 0; i < 28; ++i)
    env += fmt::format("{}{{\"name\":\"SETTING_NUMBER_{}\",\"value\":\"some value of a usual length {}\"}}",
                       i ? "," : "", i, i);
  return fmt::format(
      R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{}","labels":{{"app":"web","pod-template-hash":"5d4f8c7b9"}},)"
      R"("annotations":{{"note":"{}"}}}},"spec":{{"containers":[{{"name":"app","image":"registry.example.com/team/app:1.2.3","env":[{}],)"
      R"("resources":{{"requests":{{"cpu":"100m","memory":"128Mi"}},"limits":{{"memory":"256Mi"}}}},)"
      R"("ports":[{{"containerPort":8080}}]}}]}}}})",
      name, std::string(200, 'n'), env);
}

// One keep-alive HTTP/1.1 connection that sends its next request when the answer is complete: as little client as
// possible.
class Caller {
 public:
  using Next = std::function<std::string()>;  // the bytes of a whole request; empty: stop

  Caller(run::Loop& loop, const std::string& address, const wire::TlsClientConfig& tls, Next next)
      : stream_(must(wire::dial(loop, address, tls))), next_(std::move(next)) {}

  void start() {
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [this](std::string_view bytes) { take(bytes); };
    callbacks.on_close = [this](Error) { done_.set_value(); };
    stream_->start(std::move(callbacks));
    stream_->loop().post([this] { send(); });
  }
  void wait() { done_.get_future().wait(); }
  std::vector<double> micros;
  size_t failures = 0, last_bytes = 0;

 private:
  void send() {
    std::string request = next_();
    if (request.empty()) return done_.set_value();
    sent_ = machine_clock->now();
    stream_->write(SharedBytes(std::move(request)));
  }

  void take(std::string_view bytes) {
    if (body_left_ > 0) {
      const size_t used = std::min(body_left_, bytes.size());
      body_left_ -= used;
      if (body_left_ == 0) finish();
      return;
    }
    head_ += bytes;
    const size_t end = head_.find("\r\n\r\n");
    if (end == std::string::npos) return;
    failures += head_[9] != '2';
    const size_t at = head_.find("content-length: ");
    last_bytes = at == std::string::npos ? 0 : strtoul(head_.c_str() + at + 16, nullptr, 10);
    const size_t got = head_.size() - end - 4;
    body_left_ = last_bytes > got ? last_bytes - got : 0;
    if (body_left_ == 0) finish();
  }

  void finish() {
    micros.push_back(seconds_since(sent_) * 1e6);
    head_.clear();
    send();
  }

  std::unique_ptr<wire::Stream> stream_;
  const Next next_;
  std::string head_;
  size_t body_left_ = 0;
  Monotonic sent_;
  std::promise<void> done_;
};

struct Rate {
  double per_second = 0, p50 = 0, p99 = 0;
  double cpu_micros = 0;  // of client and server, per request
  size_t failures = 0, bytes = 0;
};

Rate drive(World& world, int connections, double seconds, std::function<std::string()> request) {
  run::LoopThread loop("client");
  const Monotonic start = machine_clock->now();
  std::vector<std::unique_ptr<Caller>> callers;
  for (int i = 0; i < connections; ++i)
    callers.push_back(
        std::make_unique<Caller>(loop.loop(), "127.0.0.1:" + std::to_string(world.server->port()), world.client_tls,
                                 [&] { return seconds_since(start) < seconds ? request() : std::string{}; }));
  const Monotonic begun = machine_clock->now();
  const double cpu_before = cpu_seconds();
  for (auto& caller : callers) caller->start();
  for (auto& caller : callers) caller->wait();
  const double took = seconds_since(begun);
  Rate rate;
  std::vector<double> all;
  for (auto& caller : callers) {
    all.insert(all.end(), caller->micros.begin(), caller->micros.end());
    rate.failures += caller->failures;
    rate.bytes = std::max(rate.bytes, caller->last_bytes);
  }
  rate.per_second = static_cast<double>(all.size()) / took;
  rate.cpu_micros = (cpu_seconds() - cpu_before) * 1e6 / static_cast<double>(all.size());
  rate.p50 = percentile(all, 0.5);
  rate.p99 = percentile(all, 0.99);
  std::promise<void> ended;  // callers go on their loop
  loop.loop().post([&] {
    callers.clear();
    ended.set_value();
  });
  ended.get_future().wait();
  return rate;
}

std::string get_request(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nhost: localhost\r\n\r\n"; }
std::string post_request(const std::string& path, const std::string& body) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}", path,
      body.size(), body);
}

size_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// Peak of the heap while `work` runs, over what it was before.
size_t extra_heap(const std::function<void()>& work) {
  const size_t before = heap_bytes();
  std::atomic<bool> over = false;
  std::atomic<size_t> peak = before;
  std::thread sampler([&] {
    while (!over) {
      peak = std::max(peak.load(), heap_bytes());
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  work();
  over = true;
  sampler.join();
  return peak - before;
}

struct ListFigures {
  double seconds = 0;
  size_t bytes = 0, extra = 0;
};

ListFigures list_pods(World& world) {
  run::LoopThread loop("client");
  auto client = must(wire::HttpClient::create(loop.loop(), "https://localhost:" + std::to_string(world.server->port()),
                                              world.client_tls));
  ListFigures figures;
  const auto once = [&] {
    std::promise<void> ended;
    size_t bytes = 0;
    wire::Request request{.target = "/api/v1/namespaces/bench/pods"};
    wire::HttpClient::Streaming callbacks;
    callbacks.on_start = [](int, const wire::Headers&) {};
    callbacks.on_data = [&](std::string_view piece) { bytes += piece.size(); };
    callbacks.on_end = [&](Result<void>) { ended.set_value(); };
    auto handle = client->stream(std::move(request), std::move(callbacks));
    ended.get_future().wait();
    figures.bytes = bytes;
  };
  once();  // the connection is open
  figures.extra = extra_heap(once);
  const Monotonic start = machine_clock->now();
  once();
  figures.seconds = seconds_since(start);
  return figures;
}

// Watchers inside the process: the hub and the shared encodings without sockets.
struct CountingWatcher : Watcher {
  std::atomic<size_t>* total;
  size_t bytes = 0;
  const Served* served;
  WallTime now;
  bool deliver(EventType type, WatchItem& item) override {
    bytes += render_event({}, *served, type, item, now)->size();
    total->fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  bool bookmark(store::Revision, bool) override { return true; }
  void ended(Error) override {}
};

double watch_in_process(World& world, size_t watchers, size_t events) {
  std::atomic<size_t> total = 0;
  run::LoopThread lane("lane");
  std::vector<std::unique_ptr<CountingWatcher>> counting;
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  const Served* served = world.api.catalog().find("", "pods");
  for (size_t i = 0; i < watchers; ++i) {
    auto& watcher = counting.emplace_back(std::make_unique<CountingWatcher>());
    watcher->total = &total;
    watcher->served = served;
    WatchRequest request;
    request.served = served;
    request.namespace_ = "bench";
    request.after = world.store->revision();
    subscriptions.push_back(must(world.api.watch_unasked(std::move(request), lane.loop(), *watcher)));
  }
  const Monotonic start = machine_clock->now();
  for (size_t i = 0; i < events; ++i)
    world.call("", "pods", "bench", pod_body(fmt::format("watched-{}-{}", watchers, i)));
  while (total < watchers * events) std::this_thread::sleep_for(std::chrono::microseconds(100));
  return static_cast<double>(total) / seconds_since(start);
}

struct Deliveries {
  double per_second = 0;
  double cpu_micros = 0;  // of client, server and the writer of the events, per delivery
};

// Counts the events that came, by what they end with; a piece may end in the middle of that.
class EventCounter {
 public:
  size_t count(std::string_view bytes) {
    size_t events = !bytes.empty() && bytes[0] == '\n' && last_ == '}';
    for (size_t at = 0; (at = bytes.find("}\n", at)) != std::string_view::npos; ++at) ++events;
    if (!bytes.empty()) last_ = bytes.back();
    return events;
  }

 private:
  char last_ = 0;
};

// Watch streams over TLS, one connection each, all for the same events.
Deliveries watch_over_tls(World& world, const std::string& resource, size_t watchers, size_t events,
                          const std::function<std::string(size_t)>& body) {
  run::LoopThread loop("client");
  std::atomic<size_t> total = 0;
  std::vector<std::unique_ptr<wire::Stream>> streams;
  for (size_t i = 0; i < watchers; ++i) {
    auto& stream = streams.emplace_back(
        must(wire::dial(loop.loop(), "127.0.0.1:" + std::to_string(world.server->port()), world.client_tls)));
    wire::Stream::Callbacks callbacks;
    callbacks.on_data = [&total, counter = EventCounter()](std::string_view bytes) mutable {
      total.fetch_add(counter.count(bytes), std::memory_order_relaxed);
    };
    stream->start(std::move(callbacks));
    stream->write(SharedBytes(get_request(
        fmt::format("/api/v1/namespaces/bench/{}?watch=1&resourceVersion={}", resource, world.store->revision()))));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const Monotonic start = machine_clock->now();
  const double cpu_before = cpu_seconds();
  for (size_t i = 0; i < events; ++i) world.call("", resource, "bench", body(i));
  while (total < watchers * events && seconds_since(start) < 30)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  const Deliveries seen{static_cast<double>(total) / seconds_since(start),
                        (cpu_seconds() - cpu_before) * 1e6 / static_cast<double>(total)};
  std::promise<void> ended;
  loop.loop().post([&] {
    streams.clear();
    ended.set_value();
  });
  ended.get_future().wait();
  return seen;
}

std::string config_body(const std::string& name, size_t bytes) {
  return fmt::format(R"({{"metadata":{{"name":"{}"}},"data":{{"key":"{}"}}}})", name, std::string(bytes, 'v'));
}

// One byte there and back over a TCP connection on loopback, between two threads that sleep in between; the far one
// does `work` before it answers.
double raw_round_trip_micros(const std::function<void()>& work, int times) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  const bool good = bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(listener, 1) == 0 &&
                    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  const int near = socket(AF_INET, SOCK_STREAM, 0);
  if (!good || connect(near, reinterpret_cast<sockaddr*>(&address), size) != 0) return 0;
  const int far = accept(listener, nullptr, nullptr), one = 1;
  for (const int fd : {near, far}) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  std::thread echo([far, &work] {
    for (char byte; read(far, &byte, 1) == 1;) {
      work();
      if (write(far, &byte, 1) != 1) break;
    }
  });
  std::vector<double> micros;
  for (int i = 0; i < times; ++i) {
    const Monotonic start = machine_clock->now();
    char byte = 'x';
    if (write(near, &byte, 1) != 1 || read(near, &byte, 1) != 1) break;
    micros.push_back(seconds_since(start) * 1e6);
  }
  close(near);
  echo.join();
  close(far);
  close(listener);
  return percentile(micros, 0.5);
}

double memcpy_gigabytes_per_second() {
  const std::string from(64 << 20, 'x');
  std::string to(from.size(), 'y');
  const Monotonic start = machine_clock->now();
  for (int i = 0; i < 10; ++i) {
    memcpy(to.data(), from.data() + i, from.size() - 10);
    asm volatile("" : : "r"(to.data()) : "memory");  // somebody might look
  }
  return 10 * static_cast<double>(from.size()) / 1e9 / seconds_since(start);
}

// A log as simple as can be: a block is written behind the last one and synced.
struct Probe {
  explicit Probe(const std::string& folder) : file(must(disk->open(folder + "/probe", os::OpenMode::create))) {
    must(file->allocate(places * block.size()));
  }
  void write_and_sync() {
    must(file->write_at(at++ % places * block.size(), block));
    must(file->sync());
  }
  static constexpr uint64_t places = 2048;
  const std::string block = std::string(4096, 'x');
  std::unique_ptr<os::Disk> disk = os::make_disk();
  std::unique_ptr<os::File> file;
  uint64_t at = 0;
};

struct SyncMicros {
  double p50 = 0, p99 = 0;
};

SyncMicros raw_sync_micros(Probe& probe) {
  std::vector<double> micros;
  for (int i = 0; i < 300; ++i) {
    const Monotonic start = machine_clock->now();
    probe.write_and_sync();
    micros.push_back(seconds_since(start) * 1e6);
  }
  return {percentile(micros, 0.5), percentile(micros, 0.99)};
}

// Keeps every core from going to sleep, with threads that give way to everybody else (SCHED_IDLE): a core of a virtual
// machine that sleeps between two requests wakes up slowly and with cold caches.
class AwakeCores {
 public:
  AwakeCores() {
    for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i)
      threads_.emplace_back([this] {
        const sched_param none{};
        if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &none) != 0) return;
        while (!over_.load(std::memory_order_relaxed)) {
        }
      });
  }
  ~AwakeCores() {
    over_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> over_ = false;
  std::vector<std::thread> threads_;
};

// A durable create by one client beside what the machine needs for it, in turns, so that whoever else uses the disk
// and the cores is in all of them.
template <class Figure>
void one_client(World& world, const std::string& folder, double seconds, const std::function<std::string()>& create,
                const std::string& suffix, const Figure& figure) {
  Probe probe(folder);
  std::vector<double> syncs, slow_syncs, round_trips, synced_round_trips, creates, of_bound, of_synced;
  for (int round = 0; round < 9; ++round) {
    const SyncMicros sync = raw_sync_micros(probe);
    syncs.push_back(sync.p50);
    slow_syncs.push_back(sync.p99);
    round_trips.push_back(raw_round_trip_micros([] {}, 300));
    synced_round_trips.push_back(raw_round_trip_micros([&] { probe.write_and_sync(); }, 300));
    creates.push_back(drive(world, 1, seconds / 5, create).p50);
    of_bound.push_back(creates.back() / (2 * syncs.back() + round_trips.back()));
    of_synced.push_back(creates.back() / synced_round_trips.back());
  }
  figure("fdatasync_p50_us" + suffix, percentile(syncs, 0.5), "us, one after the other");
  figure("fdatasync_p99_us" + suffix, percentile(slow_syncs, 0.5), "us");
  figure("round_trip_p50_us" + suffix, percentile(round_trips, 0.5), "us, one after the other");
  figure("synced_round_trip_p50_us" + suffix, percentile(synced_round_trips, 0.5),
         "us (one byte to a thread that syncs, then answers)");
  figure("create_durable_1_client_p50_us" + suffix, percentile(creates, 0.5), "us");
  figure("create_durable_1_client_of_bound" + suffix, 100 * percentile(of_bound, 0.5),
         "% of two fdatasyncs and a round trip");
  figure("create_durable_1_client_of_synced" + suffix, 100 * percentile(of_synced, 0.5), "% of the synced round trip");
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 2 ? strtod(argv[2], nullptr) : 2;
  const std::string only = argc > 3 ? argv[3] : "";
  const auto wanted = [&](std::string_view part) { return only.empty() || only == part; };
  std::string folder = argc > 1 ? argv[1] : "";
  char scratch[] = "/tmp/api_bench.XXXXXX";
  if (folder.empty()) folder = mkdtemp(scratch);
  std::filesystem::create_directories(folder);
  set_log_level(LogLevel::warn);

  std::string json = "{";
  const auto figure = [&](const std::string& name, double value, const char* unit) {
    std::printf("%-48s %12.1f %s\n", name.c_str(), value, unit);
    json += fmt::format("{}\"{}\":{:.1f}", json.size() > 1 ? "," : "", name, value);
  };
  figure("cores", std::thread::hardware_concurrency(), "");
  figure("memcpy_gigabytes_per_second", memcpy_gigabytes_per_second(), "GB/s, one thread");
  figure("loopback_round_trip_p50_us", raw_round_trip_micros([] {}, 2000), "us (one byte over TCP, two threads)");
  if (wanted("get")) {
    World world(store::make_memory_store());
    world.call("", "pods", "bench", pod_body("one"));
    Rate rate = drive(world, 16, seconds, [] { return get_request("/api/v1/namespaces/bench/pods/one"); });
    if (rate.failures > 0) std::fprintf(stderr, "%zu requests failed\n", rate.failures);
    figure("get_pod_bytes", static_cast<double>(rate.bytes), "bytes");
    figure("get_pod_per_second", rate.per_second, "/s");
    figure("get_pod_p99_us", rate.p99, "us");
    figure("get_pod_cpu_us", rate.cpu_micros, "us of client and server");
    rate = drive(world, 16, seconds, [] { return get_request("/healthz"); });
    figure("healthz_per_second", rate.per_second, "/s (HTTP and TLS alone)");
    int number = 0;
    rate = drive(world, 16, seconds, [&] {
      return post_request("/api/v1/namespaces/bench/pods", pod_body(fmt::format("made-{}", number++)));
    });
    figure("create_pod_memory_per_second", rate.per_second, "/s");
    figure("create_pod_memory_cpu_us", rate.cpu_micros, "us of client and server");
  }
  if (wanted("watch")) {
    World world(store::make_memory_store());
    figure("watch_in_process_1000_per_second", watch_in_process(world, 1000, 300), "deliveries/s");
    Deliveries watch =
        watch_over_tls(world, "pods", 100, 1000, [](size_t i) { return pod_body(fmt::format("tls-{}", i)); });
    figure("watch_tls_100_pods_per_second", watch.per_second, "deliveries/s of 4 KB over 100 TLS connections");
    figure("watch_tls_100_pods_cpu_us", watch.cpu_micros, "us of client and server");
    watch = watch_over_tls(world, "configmaps", 100, 2000,
                           [](size_t i) { return config_body(fmt::format("tls-{}", i), 700); });
    figure("watch_tls_100_configmaps_per_second", watch.per_second, "deliveries/s of 1 KB over 100 TLS connections");
    figure("watch_tls_100_configmaps_cpu_us", watch.cpu_micros, "us of client and server");
  }
  if (wanted("list")) {
    World world(store::make_memory_store());
    for (int i = 0; i < 10'000; ++i) world.call("", "pods", "bench", pod_body(fmt::format("pod-{:05}", i)));
    const ListFigures list = list_pods(world);
    figure("list_10000_pods_seconds", list.seconds, "s");
    figure("list_10000_pods_megabytes", static_cast<double>(list.bytes) / 1e6, "MB");
    figure("list_10000_pods_extra_megabytes", static_cast<double>(list.extra) / 1e6, "MB of heap");
  }
  if (wanted("durable")) {
    auto disk = os::make_disk();
    World world(must(store::LogStore::open(folder + "/store", {}, *disk)));
    std::atomic<int> number = 0;
    const auto create = [&] {
      return post_request("/api/v1/namespaces/bench/configmaps", config_body(fmt::format("c{}", number++), 512));
    };
    one_client(world, folder, seconds, create, "", figure);
    {
      const AwakeCores awake;
      one_client(world, folder, seconds, create, "_awake", figure);
    }
    Rate rate;
    rate = drive(world, 64, seconds, create);
    figure("create_durable_64_clients_per_second", rate.per_second, "/s");
    figure("create_durable_64_clients_p99_us", rate.p99, "us");
    figure("create_durable_64_clients_cpu_us", rate.cpu_micros, "us of client and server");
    if (rate.failures > 0) std::fprintf(stderr, "%zu requests failed\n", rate.failures);
  }
  if (folder == scratch) std::filesystem::remove_all(folder);
  std::printf("%s}\n", json.c_str());
}
