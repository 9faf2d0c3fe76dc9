// sim_run [--seed N] [--steps N] [--nodes N] [--seeds COUNT] [--verbose] [--log]: replays worlds and prints what
// happened.
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "base/text.h"
#include "sim/world.h"

int main(int argc, char** argv) {
  dure::sim::WorldOptions options;
  int64_t seeds = 1;
  bool verbose = false, logs = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const auto number = i + 1 < argc ? dure::parse_int(argv[i + 1]) : std::nullopt;
    if (flag == "--verbose")
      verbose = true;
    else if (flag == "--log")
      logs = true;
    else if (flag == "--seed" && number)
      options.seed = static_cast<uint64_t>(*number), ++i;
    else if (flag == "--steps" && number)
      options.steps = static_cast<int>(*number), ++i;
    else if (flag == "--nodes" && number)
      options.nodes = static_cast<int>(*number), ++i;
    else if (flag == "--seeds" && number)
      seeds = *number, ++i;
    else {
      std::fprintf(stderr, "usage: sim_run [--seed N] [--steps N] [--nodes N] [--seeds COUNT] [--verbose] [--log]\n");
      return 2;
    }
  }
  int failed = 0;
  for (int64_t i = 0; i < seeds; ++i, ++options.seed) {
    std::fprintf(stderr, "seed %llu ...\n", static_cast<unsigned long long>(options.seed));
    dure::sim::World world(options);
    dure::set_log_sink([&](dure::LogLevel, std::string_view line) {
      if (logs) world.journal().note(line);
    });
    if (logs) dure::set_log_level(dure::LogLevel::debug);
    if (verbose || logs)
      world.journal().echo(
          [](std::string_view line) { std::printf("%.*s\n", static_cast<int>(line.size()), line.data()); });
    const bool good = world.run();
    dure::set_log_sink([](dure::LogLevel, std::string_view) {});
    for (const std::string& what : world.journal().violations()) std::printf("VIOLATION %s\n", what.c_str());
    std::printf("%s %s\n", good ? "good" : "BAD ", world.summary().c_str());
    std::fflush(stdout);
    failed += !good;
  }
  return failed == 0 ? 0 : 1;
}
