#include "base/metric.h"

#include <algorithm>
#include <mutex>
#include <vector>

namespace dure {
namespace {

struct Registry {
  std::mutex mutex;
  std::vector<const Metric*> cells;
};

Registry& registry() {
  static Registry* value = new Registry;  // outlives every cell
  return *value;
}

}  // namespace

Metric::Metric(Kind kind, std::string name, std::string labels, std::string help)
    : kind(kind), name(std::move(name)), labels(std::move(labels)), help(std::move(help)) {
  const std::lock_guard lock(registry().mutex);
  registry().cells.push_back(this);
}

Metric::~Metric() {
  const std::lock_guard lock(registry().mutex);
  std::erase(registry().cells, this);
}

std::string metrics_text() {
  const std::lock_guard lock(registry().mutex);
  std::vector<const Metric*> cells = registry().cells;
  std::sort(cells.begin(), cells.end(), [](const Metric* a, const Metric* b) {
    return a->name != b->name ? a->name < b->name : a->labels < b->labels;
  });
  std::string out;
  std::string_view last;
  for (const Metric* cell : cells) {
    if (cell->name != last) {
      if (!cell->help.empty()) out += "# HELP " + cell->name + " " + cell->help + "\n";
      out += "# TYPE " + cell->name + (cell->kind == Metric::Kind::counter ? " counter\n" : " gauge\n");
      last = cell->name;
    }
    out += cell->name;
    if (!cell->labels.empty()) out += "{" + cell->labels + "}";
    out += " " + std::to_string(cell->value()) + "\n";
  }
  return out;
}

}  // namespace dure
