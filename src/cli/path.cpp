#include "cli/path.h"

#include <algorithm>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "base/text.h"
#include "kinds/views/core_v1.h"
#include "schema/json.h"
#include "schema/plain.h"

namespace dure::cli {
namespace {

std::string text_of(const schema::Node* object, std::string_view key) {
  const schema::Node* member = object->find(key);
  return member ? std::string(member->string()) : std::string();
}

double number_of(const schema::Node* object, std::string_view key, double otherwise) {
  const schema::Node* member = object->find(key);
  return member ? member->number() : otherwise;
}

std::vector<RungLine> rungs_of(const schema::Node* path) {
  std::vector<RungLine> out;
  const schema::Node* list = path->find("rungs");
  for (const schema::Node* one = list ? list->first() : nullptr; one; one = one->next())
    out.push_back({text_of(one, "rung"), text_of(one, "why"), text_of(one, "message"), text_of(one, "via"),
                   number_of(one, "triedSecondsAgo", -1)});
  return out;
}

std::string milliseconds(double value) {
  return value <= 0 ? "-" : value < 10 ? fmt::format("{:.1f}ms", value) : fmt::format("{:.0f}ms", value);
}

std::string age(double seconds) { return human_duration(Duration(static_cast<int64_t>(seconds * 1e9))); }

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

// As kubectl prints: columns of the widest cell and three spaces, nothing behind the last.
std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) out += fmt::format("{:<{}}", row[i], widths[i] + 3);
    out += row.back() + "\n";
  }
  return out;
}

const PathLine* find_path(const std::vector<NodePathsAnswer>& answers, std::string_view from, std::string_view to) {
  for (const NodePathsAnswer& answer : answers)
    for (const PathLine& path : answer.paths)
      if (path.from == from && path.to == to) return &path;
  return nullptr;
}

std::string silence_of(const std::vector<NodePathsAnswer>& answers, std::string_view node) {
  const auto at = std::ranges::find(answers, node, &NodePathsAnswer::node);
  return at == answers.end() ? "" : at->silence;
}

void add_reasons(std::vector<std::vector<std::string>>& rows, const PathLine& path) {
  for (const RungLine& rung : path.rungs) {
    if (rung.rung == path.rung) return;
    rows.push_back({path.from, path.to, rung.rung, rung.why,
                    rung.tried_seconds_ago < 0 ? "never" : age(rung.tried_seconds_ago) + " ago", or_dash(rung.via),
                    rung.message});
  }
}

}  // namespace

Result<std::vector<PathLine>> read_paths(std::string_view json) {
  const auto parsed = schema::decode_json(SharedBytes(std::string(json)));
  const schema::Node* list = parsed ? parsed->root()->find("paths") : nullptr;
  if (!list || list->kind() != schema::Kind::list)
    return fail(Error{502, "BadAnswer", "the node's answer is not a list of paths"});
  const std::string from = text_of(parsed->root(), "node");
  std::vector<PathLine> out;
  for (const schema::Node* one = list->first(); one; one = one->next()) {
    PathLine path{.from = from,
                  .to = text_of(one, "node"),
                  .rung = text_of(one, "rung"),
                  .via = text_of(one, "via"),
                  .rungs = rungs_of(one)};
    path.latency_ms = number_of(one, "latencyMs", 0);
    path.loss = number_of(one, "loss", 0);
    path.seconds = number_of(one, "seconds", 0);
    path.mtu = static_cast<int64_t>(number_of(one, "mtu", 0));
    out.push_back(std::move(path));
  }
  return out;
}

Result<std::vector<NodePathsAnswer>> ask_paths(Api& api, const std::vector<std::string>& wanted, Duration timeout) {
  std::vector<NodePathsAnswer> answers;
  for (const std::string& node : wanted) answers.push_back({.node = node});
  if (wanted.empty()) {
    DURE_TRY(const auto nodes, api.client().list(kinds::core_v1::nodes));
    for (const schema::Object& node : nodes.items)
      answers.push_back({.node = std::string(kinds::core_v1::Node(node).metadata().name())});
  }
  std::vector<std::thread> threads;
  for (NodePathsAnswer& answer : answers)
    threads.emplace_back([&api, &answer, timeout] {
      const auto page = api.get("/api/v1/nodes/" + answer.node + "/proxy/dure/v1/paths", timeout);
      auto paths = page ? read_paths(*page) : fail(page.error());
      if (paths)
        answer.paths = std::move(*paths);
      else
        answer.silence = paths.error().message;
    });
  for (std::thread& thread : threads) thread.join();
  return answers;
}

Result<std::string> pair_text(const std::vector<NodePathsAnswer>& answers, std::string_view a, std::string_view b) {
  std::vector<std::vector<std::string>> chosen = {{"FROM", "TO", "RUNG", "VIA", "LATENCY", "LOSS", "MTU", "AGE"}};
  std::vector<std::vector<std::string>> reasons = {{"FROM", "TO", "RUNG", "WHY NOT", "TRIED", "LAST", "EXPLANATION"}};
  std::string notes;
  for (const auto& [from, to] : {std::pair(a, b), {b, a}}) {
    const PathLine* path = find_path(answers, from, to);
    if (!path) {
      const std::string silence = silence_of(answers, from);
      notes += fmt::format("{} does not say how it reaches {}: {}\n", from, to,
                           silence.empty() ? "it does not know that node" : silence);
      continue;
    }
    chosen.push_back({path->from, path->to, path->rung, or_dash(path->via), milliseconds(path->latency_ms),
                      fmt::format("{:.0f}%", path->loss * 100), path->mtu ? std::to_string(path->mtu) : "-",
                      age(path->seconds)});
    add_reasons(reasons, *path);
  }
  if (chosen.size() == 1)
    return fail(
        Error{404, "NoSuchPath", trim(notes).empty() ? "no such path" : std::string(trim(notes)), "kubectl get nodes"});
  return table_text(chosen) + (reasons.size() > 1 ? "\n" + table_text(reasons) : "") + notes;
}

std::string path_matrix_text(const std::vector<NodePathsAnswer>& answers) {
  std::set<std::string> nodes;
  for (const NodePathsAnswer& answer : answers) {
    nodes.insert(answer.node);
    for (const PathLine& path : answer.paths) nodes.insert(path.to);
  }
  std::vector<std::vector<std::string>> rows(1, {"FROM"});
  for (const std::string& node : nodes) rows[0].push_back(node);
  std::string notes;
  for (const NodePathsAnswer& answer : answers) {
    std::vector<std::string> row = {answer.node};
    for (const std::string& node : nodes) {
      const PathLine* path = find_path(answers, answer.node, node);
      if (node == answer.node)
        row.emplace_back("-");
      else if (!path)
        row.emplace_back("?");
      else
        row.push_back(path->latency_ms > 0 ? path->rung + " " + milliseconds(path->latency_ms) : path->rung);
    }
    rows.push_back(std::move(row));
    if (!answer.silence.empty()) notes += fmt::format("{} did not answer: {}\n", answer.node, answer.silence);
  }
  return table_text(rows) + notes;
}

std::string paths_json(const std::vector<NodePathsAnswer>& answers) {
  schema::Document out;
  schema::Node* list = schema::add_list(out, out.root(), "paths");
  for (const NodePathsAnswer& answer : answers)
    for (const PathLine& path : answer.paths) {
      schema::Node* one =
          schema::add_row(out, list, {{"from", path.from}, {"to", path.to}, {"rung", path.rung}, {"via", path.via}});
      const auto member = [&](std::string_view name) { return out.member(one, name); };
      out.set(member("latencyMs"), path.latency_ms);
      out.set(member("loss"), path.loss);
      out.set(member("mtu"), path.mtu);
      out.set(member("seconds"), path.seconds);
      schema::Node* rungs = schema::add_list(out, one, "rungs");
      for (const RungLine& rung : path.rungs)
        schema::add_row(out, rungs, {{"rung", rung.rung}, {"why", rung.why}, {"message", rung.message}});
    }
  return schema::to_json(out);
}

}  // namespace dure::cli
