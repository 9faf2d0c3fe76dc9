// What Services cost: loading N of them in one transaction, and one Service's change among N. In a namespace of its
// own; needs root.
#include <benchmark/benchmark.h>

#include "kernel/namespaces.h"
#include "svcproxy/proxy.h"

namespace dure::svcproxy {
namespace {

ServiceRules service(uint32_t number, uint32_t shift) {
  Rule rule;
  rule.frontend = {0x0a600100 + number, 80, 6};
  for (uint32_t i = 0; i < 3; ++i) rule.target.endpoints.push_back({0x0af40000 + number * 3 + i + shift, 8080, false});
  return {rule};
}

Proxy::AllRules services(uint32_t count) {
  Proxy::AllRules out;
  for (uint32_t i = 0; i < count; ++i) out.emplace("default/s" + std::to_string(i), service(i, 0));
  return out;
}

struct World {
  World() : ns(kernel::NetNamespace::create()), nft(ns ? kernel::open_nft("dure", &*ns) : fail(ns.error())) {}
  Result<kernel::NetNamespace> ns;
  Result<std::unique_ptr<kernel::Nft>> nft;
};

void load(benchmark::State& state) {
  auto all = services(static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) {
    state.PauseTiming();
    World world;
    if (!world.nft) return state.SkipWithError("needs root");
    Proxy proxy({}, **world.nft, nullptr);
    state.ResumeTiming();
    if (!proxy.sync_all(all)) return state.SkipWithError("refused");
  }
}
BENCHMARK(load)->Arg(1000)->Arg(5000)->Arg(30000)->Unit(benchmark::kMillisecond)->UseRealTime();

void read_back_unchanged(benchmark::State& state) {
  auto all = services(static_cast<uint32_t>(state.range(0)));
  World world;
  if (!world.nft) return state.SkipWithError("needs root");
  Proxy proxy({}, **world.nft, nullptr);
  for (auto _ : state)
    if (auto done = proxy.sync_all(all); !done) return state.SkipWithError(done.error().message.c_str());
}
BENCHMARK(read_back_unchanged)->Arg(1000)->Arg(30000)->Unit(benchmark::kMillisecond)->UseRealTime();

// A Service's three endpoints become three others.
void change_one(benchmark::State& state) {
  auto count = static_cast<uint32_t>(state.range(0));
  World world;
  if (!world.nft) return state.SkipWithError("needs root");
  Proxy proxy({}, **world.nft, nullptr);
  if (!proxy.sync_all(services(count))) return state.SkipWithError("refused");
  uint32_t shift = 0;
  for (auto _ : state)
    if (!proxy.sync("default/s7", service(7, ++shift % 2 ? 100000 : 0))) return state.SkipWithError("refused");
}
BENCHMARK(change_one)->Arg(1000)->Arg(5000)->Arg(30000)->Unit(benchmark::kMicrosecond)->UseRealTime();

void add_and_remove_one(benchmark::State& state) {
  auto count = static_cast<uint32_t>(state.range(0));
  World world;
  if (!world.nft) return state.SkipWithError("needs root");
  Proxy proxy({}, **world.nft, nullptr);
  if (!proxy.sync_all(services(count))) return state.SkipWithError("refused");
  bool there = false;
  for (auto _ : state) {
    there = !there;
    if (!proxy.sync("default/extra", there ? service(900000, 0) : ServiceRules{}))
      return state.SkipWithError("refused");
  }
}
BENCHMARK(add_and_remove_one)->Arg(1000)->Arg(30000)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace dure::svcproxy

BENCHMARK_MAIN();
