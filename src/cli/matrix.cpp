#include "cli/matrix.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/text.h"
#include "schema/document.h"
#include "schema/json.h"
#include "schema/plain.h"

namespace dure::cli {
namespace {

std::string question(const Target& target, Probe probe) {
  switch (probe) {
    case Probe::ping:
      return "ping:" + target.pod_ip;
    case Probe::service:
      return "tcp:" + target.service_ip + ":80";
    case Probe::dns:
      return "name:" + target.service_name + ":80";
  }
  return {};
}

// "QUESTION ok MICROSECONDS [ANSWER]" or "QUESTION fail REASON"
Seen read_answer(std::string_view line, const Target& target, Probe probe) {
  const auto words = split(line, ' ');
  if (words.size() < 3) return {false, "an answer that makes no sense"};
  if (words[1] != "ok") return {false, std::string(words[2])};
  const auto time = parse_int(words[2]);
  if (!time) return {false, "an answer that makes no sense"};
  if (probe != Probe::ping && (words.size() < 4 || words[3] != target.pod))
    return {false, fmt::format("answered by {}", words.size() < 4 ? "nobody" : words[3])};
  return {true, {}, *time};
}

std::string milliseconds(int64_t microseconds) {
  return microseconds < 10'000 ? fmt::format("{:.1f}ms", double(microseconds) / 1000)
                               : fmt::format("{}ms", microseconds / 1000);
}

// Green: the time of a ping; red: what failed.
std::string cell_text(const Matrix& matrix, size_t from, size_t to) {
  std::string failed;
  for (const Probe probe : kProbes)
    if (!matrix.at(from, to, probe).ok) failed += fmt::format("{}{}", failed.empty() ? "no " : ",", name_of(probe));
  return failed.empty() ? "ok " + milliseconds(matrix.at(from, to, Probe::ping).microseconds) : failed;
}

size_t greens(const std::vector<Seen>& seen) { return static_cast<size_t>(std::ranges::count(seen, true, &Seen::ok)); }

}  // namespace

std::string_view name_of(Probe probe) {
  constexpr std::string_view names[] = {"ping", "service", "dns"};
  return names[size_t(probe)];
}
std::string_view name_of(Stream stream) {
  constexpr std::string_view names[] = {"logs", "exec", "port-forward"};
  return names[size_t(stream)];
}

Matrix::Matrix(std::vector<std::string> node_names)
    : nodes(std::move(node_names)), pairs(nodes.size() * nodes.size() * 3), streams(nodes.size() * 3) {}

bool Matrix::is_green() const {
  return !nodes.empty() && greens(pairs) == pairs.size() && greens(streams) == streams.size();
}

std::vector<std::string> questions(const std::vector<Target>& targets) {
  std::vector<std::string> out;
  for (const Target& target : targets)
    for (const Probe probe : kProbes)
      if (!target.pod_ip.empty()) out.push_back(question(target, probe));
  return out;
}

void take_answers(Matrix& matrix, size_t from, const std::vector<Target>& targets, std::string_view text) {
  std::map<std::string_view, std::string_view> lines;
  for (const std::string_view line : split(text, '\n')) lines[line.substr(0, line.find(' '))] = trim(line);
  for (size_t to = 0; to < targets.size(); ++to)
    for (const Probe probe : kProbes) {
      Seen& seen = matrix.at(from, to, probe);
      const auto found = lines.find(question(targets[to], probe));
      if (targets[to].pod_ip.empty())
        seen = {false, "no pod there"};
      else if (found != lines.end())
        seen = read_answer(found->second, targets[to], probe);
      else
        seen = {false, "no answer from the probe"};
    }
}

void take_silence(Matrix& matrix, size_t from, const std::string& why) {
  for (size_t to = 0; to < matrix.nodes.size(); ++to)
    for (const Probe probe : kProbes) matrix.at(from, to, probe) = {false, why};
}

std::string matrix_text(const Matrix& matrix) {
  const size_t count = matrix.nodes.size();
  std::vector<std::vector<std::string>> rows = {{"FROM \\ TO"}};
  for (const std::string& node : matrix.nodes) rows[0].push_back(node);
  for (const Stream stream : kStreams) rows[0].emplace_back(name_of(stream));
  for (size_t from = 0; from < count; ++from) {
    auto& row = rows.emplace_back(std::vector<std::string>{matrix.nodes[from]});
    for (size_t to = 0; to < count; ++to) row.push_back(cell_text(matrix, from, to));
    for (const Stream stream : kStreams) row.emplace_back(matrix.at(from, stream).ok ? "ok" : "no");
  }
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}", row[i], widths[i] + 2);
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  for (size_t from = 0; from < count; ++from) {
    for (size_t to = 0; to < count; ++to)
      for (const Probe probe : kProbes)
        if (const Seen& seen = matrix.at(from, to, probe); !seen.ok)
          out += fmt::format("{} -> {}: {}: {}\n", matrix.nodes[from], matrix.nodes[to], name_of(probe), seen.why);
    for (const Stream stream : kStreams)
      if (const Seen& seen = matrix.at(from, stream); !seen.ok)
        out += fmt::format("{}: {}: {}\n", matrix.nodes[from], name_of(stream), seen.why);
  }
  return out + fmt::format("{} of {} paths between nodes, {} of {} streams\n", greens(matrix.pairs),
                           matrix.pairs.size(), greens(matrix.streams), matrix.streams.size());
}

std::string matrix_json(const Matrix& matrix) {
  schema::Document out;
  auto put = [&](schema::Node* list, auto name, const std::string& from, const std::string* to, const Seen& seen) {
    schema::Node* one = schema::add_row(out, list, {{to ? "from" : "node", from}});
    if (to) out.set(out.member(one, "to"), std::string_view(*to));
    out.set(out.member(one, "what"), name_of(name));
    out.set(out.member(one, "ok"), seen.ok);
    if (seen.ok && to) out.set(out.member(one, "microseconds"), seen.microseconds);
    if (!seen.ok) out.set(out.member(one, "why"), std::string_view(seen.why));
  };
  out.set(out.member(out.root(), "green"), matrix.is_green());
  schema::Node* pairs = schema::add_list(out, out.root(), "pairs");
  schema::Node* streams = schema::add_list(out, out.root(), "streams");
  for (size_t from = 0; from < matrix.nodes.size(); ++from) {
    for (size_t to = 0; to < matrix.nodes.size(); ++to)
      for (const Probe probe : kProbes)
        put(pairs, probe, matrix.nodes[from], &matrix.nodes[to], matrix.at(from, to, probe));
    for (const Stream stream : kStreams) put(streams, stream, matrix.nodes[from], nullptr, matrix.at(from, stream));
  }
  return schema::to_json(out);
}

}  // namespace dure::cli
