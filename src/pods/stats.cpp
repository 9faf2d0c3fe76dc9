#include "pods/stats.h"

#include <fmt/format.h>

#include <map>
#include <tuple>
#include <vector>

#include "base/text.h"
#include "cri/views/cri_v1.h"
#include "pods/node_facts.h"
#include "pods/runtime_state.h"
#include "schema/json.h"

namespace dure::pods {

namespace v1 = cri::v1;

namespace {

struct Use {
  std::string container;
  int64_t time = 0, cpu_nanoseconds = 0, cpu_nanocores = 0, memory_working_set = 0, memory_usage = 0, memory_rss = 0;
};
using PodName = std::tuple<std::string, std::string, std::string>;  // namespace, name, uid

Result<std::map<PodName, std::vector<Use>>> read_use(cri::Runtime& runtime) {
  DURE_TRY(schema::Document answer,
           runtime.call("ListContainerStats", schema::Document(v1::ListContainerStatsRequest::schema_type()), 10s));
  std::map<PodName, std::vector<Use>> out;
  for (v1::ContainerStats stats : v1::ListContainerStatsResponse(answer).stats()) {
    const auto labels = stats.attributes().labels();
    if (labels.get(label::pod_uid).empty()) continue;
    const PodName pod{std::string(labels.get(label::pod_namespace)), std::string(labels.get(label::pod_name)),
                      std::string(labels.get(label::pod_uid))};
    Use use;
    use.container = labels.get(label::container_name);
    use.time = stats.cpu().timestamp();
    use.cpu_nanoseconds = stats.cpu().usage_core_nano_seconds().value();
    use.cpu_nanocores = stats.cpu().usage_nano_cores().value();
    use.memory_working_set = stats.memory().working_set_bytes().value();
    use.memory_usage = stats.memory().usage_bytes().value();
    use.memory_rss = stats.memory().rss_bytes().value();
    out[pod].push_back(std::move(use));
  }
  return out;
}

// Seconds of all CPUs since boot, without idle and waiting: /proc/stat counts hundredths.
int64_t node_cpu_nanoseconds(os::Disk& disk) {
  const std::string text = os::read_file(disk, "/proc/stat", 1 << 20).value_or("");
  const std::string_view line = std::string_view(text).substr(0, text.find('\n'));
  int64_t sum = 0, place = 0;
  for (std::string_view word : split(line, ' ')) {
    if (word.empty() || word == "cpu") continue;
    if (place != 3 && place != 4 && place < 8) sum += parse_int(word).value_or(0);
    ++place;
  }
  return sum * 10'000'000;
}

class SummaryWriter {
 public:
  std::string write(const std::string& node, int64_t cpu, int64_t memory_available, int64_t memory_total,
                    const std::map<PodName, std::vector<Use>>& pods) {
    schema::Node* root = document_.root();
    schema::Node* out = object(root, "node");
    text(out, "nodeName", node);
    number(object(out, "cpu"), "usageCoreNanoSeconds", cpu);
    schema::Node* memory = object(out, "memory");
    number(memory, "availableBytes", memory_available);
    number(memory, "workingSetBytes", memory_total - memory_available);
    schema::Node* list = document_.member(root, "pods");
    document_.make_list(list);
    for (const auto& [name, uses] : pods) pod(document_.append(list), name, uses);
    return schema::to_json(document_);
  }

 private:
  schema::Node* object(schema::Node* parent, std::string_view key) {
    schema::Node* node = document_.member(parent, key);
    document_.make_object(node);
    return node;
  }
  void text(schema::Node* parent, std::string_view key, std::string_view value) {
    document_.set(document_.member(parent, key), value);
  }
  void number(schema::Node* parent, std::string_view key, int64_t value) {
    document_.set(document_.member(parent, key), value);
  }

  void use(schema::Node* out, const Use& u) {
    const std::string time = format_time({u.time});
    schema::Node* cpu = object(out, "cpu");
    text(cpu, "time", time);
    number(cpu, "usageNanoCores", u.cpu_nanocores);
    number(cpu, "usageCoreNanoSeconds", u.cpu_nanoseconds);
    schema::Node* memory = object(out, "memory");
    text(memory, "time", time);
    number(memory, "usageBytes", u.memory_usage);
    number(memory, "workingSetBytes", u.memory_working_set);
    number(memory, "rssBytes", u.memory_rss);
  }

  void pod(schema::Node* out, const PodName& name, const std::vector<Use>& uses) {
    document_.make_object(out);
    schema::Node* ref = object(out, "podRef");
    text(ref, "name", std::get<1>(name));
    text(ref, "namespace", std::get<0>(name));
    text(ref, "uid", std::get<2>(name));
    schema::Node* list = document_.member(out, "containers");
    document_.make_list(list);
    Use sum;
    for (const Use& u : uses) {
      schema::Node* container = document_.append(list);
      document_.make_object(container);
      text(container, "name", u.container);
      use(container, u);
      sum.time = std::max(sum.time, u.time);
      sum.cpu_nanoseconds += u.cpu_nanoseconds;
      sum.cpu_nanocores += u.cpu_nanocores;
      sum.memory_usage += u.memory_usage;
      sum.memory_working_set += u.memory_working_set;
      sum.memory_rss += u.memory_rss;
    }
    use(out, sum);
  }

  schema::Document document_;
};

}  // namespace

Result<std::string> stats_summary(cri::Runtime& runtime, os::Disk& disk, const std::string& node_name) {
  DURE_TRY(auto pods, read_use(runtime));
  const MachineFacts machine = read_machine_facts(disk, "/");
  return SummaryWriter().write(node_name, node_cpu_nanoseconds(disk), machine.memory_available, machine.memory_bytes,
                               pods);
}

Result<std::string> resource_metrics(cri::Runtime& runtime, os::Disk& disk) {
  DURE_TRY(auto pods, read_use(runtime));
  const MachineFacts machine = read_machine_facts(disk, "/");
  std::string cpu = "# TYPE container_cpu_usage_seconds_total counter\n",
              memory = "# TYPE container_memory_working_set_bytes gauge\n";
  for (const auto& [name, uses] : pods)
    for (const Use& u : uses) {
      const std::string labels = fmt::format("{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}", u.container,
                                             std::get<0>(name), std::get<1>(name));
      cpu += fmt::format("container_cpu_usage_seconds_total{} {:.9f} {}\n", labels,
                         static_cast<double>(u.cpu_nanoseconds) / 1e9, u.time / 1'000'000);
      memory +=
          fmt::format("container_memory_working_set_bytes{} {} {}\n", labels, u.memory_working_set, u.time / 1'000'000);
    }
  return fmt::format(
      "{}{}# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {:.3f}\n"
      "# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes {}\n",
      cpu, memory, static_cast<double>(node_cpu_nanoseconds(disk)) / 1e9,
      machine.memory_bytes - machine.memory_available);
}

}  // namespace dure::pods
