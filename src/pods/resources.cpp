#include "pods/resources.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "base/text.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::Pod;

namespace {

struct Suffix {
  std::string_view text;
  int binary;   // 2^(10 * binary), when above zero
  int decimal;  // 10^decimal
};
constexpr std::array suffixes{Suffix{"Ki", 1, 0}, Suffix{"Mi", 2, 0}, Suffix{"Gi", 3, 0}, Suffix{"Ti", 4, 0},
                              Suffix{"Pi", 5, 0}, Suffix{"Ei", 6, 0}, Suffix{"n", 0, -9}, Suffix{"u", 0, -6},
                              Suffix{"m", 0, -3}, Suffix{"k", 0, 3},  Suffix{"M", 0, 6},  Suffix{"G", 0, 9},
                              Suffix{"T", 0, 12}, Suffix{"P", 0, 15}, Suffix{"E", 0, 18}};

// The number times 10^decimal times 2^(10*binary) times 1000, rounded up; saturating.
int64_t scale(__int128 digits, int decimal, int binary, bool negative) {
  decimal += 3;
  constexpr __int128 most = std::numeric_limits<int64_t>::max();
  for (; binary > 0; --binary) digits = std::min(digits * 1024, most * 1000000);
  bool rest = false;
  for (; decimal < 0; ++decimal) {
    rest = rest || digits % 10 != 0;
    digits /= 10;
  }
  for (; decimal > 0; --decimal) digits = std::min(digits * 10, most);
  if (rest && !negative) ++digits;
  digits = std::min(digits, most);
  return static_cast<int64_t>(negative ? -digits : digits);
}

}  // namespace

std::optional<int64_t> quantity_milli(std::string_view text) {
  text = trim(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  __int128 digits = 0;
  int decimal = 0;
  size_t at = 0;
  bool any = false, point = false;
  constexpr __int128 most = std::numeric_limits<int64_t>::max();
  for (; at < text.size(); ++at) {
    if (text[at] == '.' && !point) {
      point = true;
    } else if (text[at] >= '0' && text[at] <= '9') {
      any = true;
      if (digits < most / 10) {
        digits = digits * 10 + (text[at] - '0');
        if (point) --decimal;
      } else if (!point) {
        ++decimal;
      }
    } else {
      break;
    }
  }
  if (!any) return std::nullopt;
  const std::string_view rest = text.substr(at);
  if (rest.empty()) return scale(digits, decimal, 0, negative);
  if ((rest[0] == 'e' || rest[0] == 'E') && rest.size() > 1) {
    auto exponent = parse_int(rest.substr(1));
    if (!exponent || *exponent > 100 || *exponent < -100) return std::nullopt;
    return scale(digits, decimal + static_cast<int>(*exponent), 0, negative);
  }
  for (const Suffix& suffix : suffixes)
    if (rest == suffix.text) return scale(digits, decimal + suffix.decimal, suffix.binary, negative);
  return std::nullopt;
}

std::optional<int64_t> quantity_value(std::string_view text) {
  auto milli = quantity_milli(text);
  if (!milli) return std::nullopt;
  return *milli >= 0 ? *milli / 1000 + (*milli % 1000 != 0) : *milli / 1000;
}

namespace {

int64_t milli_of(const auto& map, std::string_view name) {
  return map.contains(name) ? quantity_milli(map.get(name)).value_or(0) : 0;
}

struct QosCount {
  bool any = false, guaranteed = true;
  void add(const Container& container) {
    const auto limits = container.resources().limits();
    const auto requests = container.resources().requests();
    for (std::string_view name : {"cpu", "memory"}) {
      const int64_t limit = milli_of(limits, name);
      const int64_t request = requests.contains(name) ? milli_of(requests, name) : limit;
      any = any || limit > 0 || request > 0;
      guaranteed = guaranteed && limit > 0 && limit == request;
    }
  }
};

}  // namespace

std::string_view qos_class(const Pod& pod) {
  QosCount count;
  for (Container c : pod.spec().containers()) count.add(c);
  for (Container c : pod.spec().initContainers()) count.add(c);
  if (!count.any) return "BestEffort";
  return count.guaranteed ? "Guaranteed" : "Burstable";
}

namespace {

int64_t oom_score_adj(const Pod& pod, const Container& container, int64_t node_memory) {
  constexpr int64_t guaranteed = -997;
  if (pod.spec().priorityClassName() == "system-node-critical") return guaranteed;
  const std::string_view qos = qos_class(pod);
  if (qos == "Guaranteed") return guaranteed;
  if (qos == "BestEffort" || node_memory <= 0) return 1000;
  const int64_t request = milli_of(container.resources().requests(), "memory") / 1000;
  const int64_t score = 1000 - static_cast<int64_t>(static_cast<__int128>(1000) * request / node_memory);
  return std::clamp<int64_t>(score, 1000 + guaranteed, 999);
}

}  // namespace

LinuxResources linux_resources(const Pod& pod, const Container& container, int64_t node_memory,
                               int64_t oom_score_adj_min) {
  LinuxResources out;
  const auto limits = container.resources().limits();
  const auto requests = container.resources().requests();
  const int64_t cpu_limit = milli_of(limits, "cpu");
  const int64_t cpu_request = requests.contains("cpu") ? milli_of(requests, "cpu") : cpu_limit;
  out.cpu_shares = std::clamp<int64_t>(cpu_request * 1024 / 1000, 2, 262144);
  if (cpu_limit > 0) {
    out.cpu_period = 100000;
    out.cpu_quota = std::max<int64_t>(cpu_limit * out.cpu_period / 1000, 1000);
  }
  if (limits.contains("memory")) out.memory_limit = quantity_value(limits.get("memory")).value_or(0);
  out.oom_score_adj = std::max(oom_score_adj(pod, container, node_memory), oom_score_adj_min);
  return out;
}

}  // namespace dure::pods
