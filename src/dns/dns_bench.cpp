// Answers per second: the answerer alone among N Services, and the whole server over loopback with one client thread.
#include <benchmark/benchmark.h>
#include <poll.h>

#include "dns/answerer.h"
#include "dns/server.h"
#include "os/disk.h"

namespace dure::dns {
namespace {

void fill(Zone& zone, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    ServiceRecords records;
    records.cluster_ips = {Ip::v4(0x0a600100 + i)};
    records.ports = {{"http", "tcp", 80}};
    zone.put("ns" + std::to_string(i % 50), "service" + std::to_string(i),
             std::make_shared<const ServiceRecords>(records));
  }
}

void answer(benchmark::State& state) {
  Zone zone{ZoneOptions{}};
  fill(zone, static_cast<uint32_t>(state.range(0)));
  Answerer answerer(zone);
  std::string query = *write_query(1, "service42.ns42.svc.cluster.local", type_a);
  for (auto _ : state) benchmark::DoNotOptimize(answerer.react(query, false, 1));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(answer)->Arg(100)->Arg(10000);

void no_such_name(benchmark::State& state) {
  Zone zone{ZoneOptions{}};
  fill(zone, 10000);
  Answerer answerer(zone);
  std::string query = *write_query(1, "www.example.com.ns42.svc.cluster.local", type_a);
  for (auto _ : state) benchmark::DoNotOptimize(answerer.react(query, false, 1));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(no_such_name);

void over_loopback(benchmark::State& state) {
  Zone zone{ZoneOptions{}};
  fill(zone, 10000);
  auto disk = os::make_disk();
  auto server = Server::start(zone, *disk, {.listen = {{*Ip::parse("127.0.0.1"), 0}}});
  auto client = os::UdpSocket::connect((*server)->addresses()[0]);
  std::string query = *write_query(1, "service42.ns42.svc.cluster.local", type_a);
  std::vector<os::Datagram> batch(static_cast<size_t>(state.range(0)), os::Datagram{{}, query});
  int64_t answered = 0;
  for (auto _ : state) {
    (*client)->send(batch);
    for (size_t got = 0; got < batch.size();) {
      pollfd wait{(*client)->fd(), POLLIN, 0};
      if (poll(&wait, 1, 1000) != 1) break;
      got += (*client)->receive().size();
    }
    answered += static_cast<int64_t>(batch.size());
  }
  state.SetItemsProcessed(answered);
}
BENCHMARK(over_loopback)->Arg(1)->Arg(32)->UseRealTime();

}  // namespace
}  // namespace dure::dns

BENCHMARK_MAIN();
