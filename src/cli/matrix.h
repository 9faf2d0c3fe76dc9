// Matrix: what `dure verify` saw, node by node, and how it is shown. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure::cli {

enum class Probe : uint8_t { ping, service, dns };  // from each node to each node
inline constexpr std::array kProbes = {Probe::ping, Probe::service, Probe::dns};
enum class Stream : uint8_t { logs, exec, forward };  // of each node
inline constexpr std::array kStreams = {Stream::logs, Stream::exec, Stream::forward};
std::string_view name_of(Probe probe);
std::string_view name_of(Stream stream);

struct Seen {
  bool ok = false;
  std::string why = "not asked";  // when not ok
  int64_t microseconds = 0;       // when ok
};

struct Matrix {
  explicit Matrix(std::vector<std::string> node_names);
  std::vector<std::string> nodes;
  Seen& at(size_t from, size_t to, Probe probe) { return pairs[(from * nodes.size() + to) * 3 + size_t(probe)]; }
  const Seen& at(size_t from, size_t to, Probe probe) const {
    return pairs[(from * nodes.size() + to) * 3 + size_t(probe)];
  }
  Seen& at(size_t node, Stream stream) { return streams[node * 3 + size_t(stream)]; }
  const Seen& at(size_t node, Stream stream) const { return streams[node * 3 + size_t(stream)]; }
  bool is_green() const;
  std::vector<Seen> pairs, streams;
};

// What the probe program is asked, and what it answers. A node that asks itself is a pair, too: its own Service is
// reached by another road than a neighbour's.
struct Target {
  std::string pod, pod_ip, service_ip, service_name;
};
std::vector<std::string> questions(const std::vector<Target>& targets);
// Enters the lines of one node's answers; an answer by the wrong pod is a failure that names it.
void take_answers(Matrix& matrix, size_t from, const std::vector<Target>& targets, std::string_view text);
// Marks what a node could not ask at all.
void take_silence(Matrix& matrix, size_t from, const std::string& why);

std::string matrix_text(const Matrix& matrix);
std::string matrix_json(const Matrix& matrix);

}  // namespace dure::cli
