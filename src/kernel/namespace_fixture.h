// Test: network namespaces for tests; each test makes its own and never touches the machine's.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "kernel/namespaces.h"

namespace dure::kernel {

// Runs a shell command inside `ns`; its exit status. Output goes to stderr of the test.
inline int run_in(const NetNamespace& ns, const std::string& command) {
  int status = -1;
  auto entered = ns.run([&] {
    std::string line = "{ " + command + " ; } >/dev/null 2>&1";
    status = std::system(line.c_str());
  });
  return entered ? status : -1;
}

// The output of a shell command inside `ns`.
inline std::string output_in(const NetNamespace& ns, const std::string& command) {
  std::string out;
  (void)ns.run([&] {
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    if (!pipe) return;
    char buffer[4096];
    while (size_t got = fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, got);
    pclose(pipe);
  });
  return out;
}

#define DURE_NEEDS_NAMESPACES()                                  \
  if (geteuid() != 0 || !::dure::kernel::NetNamespace::create()) \
  GTEST_SKIP() << "network namespaces need root (CAP_SYS_ADMIN and CAP_NET_ADMIN)"

template <class T>
T must(Result<T> result) {
  if (!result) ADD_FAILURE() << result.error().message;
  return std::move(*result);
}
inline void must(Status status) {
  if (!status) ADD_FAILURE() << status.error().message;
}

}  // namespace dure::kernel
