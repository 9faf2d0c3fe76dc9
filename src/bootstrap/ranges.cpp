#include "bootstrap/ranges.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace dure::bootstrap {
namespace {

using Severity = Finding::Severity;

struct Role {
  std::string_view whom, flag;
  const WantedRange& wanted;
  int longest;  // a range with a longer prefix has no room
};

IpPrefix range_of(uint32_t base, int length) { return IpPrefix{Ip::v4(base), length}.network(); }

// Where to look when the wanted range is taken: the private blocks from the top down, but not 192.168.0.0/16, which
// belongs to the routers of homes, and not 172.17.0.0/16 to 172.20.0.0/16, which Docker takes first.
std::vector<IpPrefix> candidates(int length) {
  std::vector<IpPrefix> out;
  const uint32_t step = 1u << (32 - length);
  const auto sweep = [&](uint32_t first, uint32_t last) {
    for (uint32_t base = last - step + 1; base >= first && out.size() < 4096; base -= step) {
      out.push_back(range_of(base, length));
      if (base < first + step) break;
    }
  };
  sweep(0x0a000000, 0x0affffff);                    // 10.0.0.0/8
  if (length >= 16) sweep(0xac150000, 0xac1fffff);  // 172.21.0.0 to 172.31.255.255
  return out;
}

class Picker {
 public:
  Picker(const std::vector<MachineNetwork>& networks, RangePlan& plan) : networks_(networks), plan_(plan) {}

  // Given ranges go first: a default makes room for them.
  void take(const Role& role, IpPrefix& out) {
    const auto wanted = IpPrefix::parse(role.wanted.text);
    if (!wanted || wanted->ip.v6 || wanted->network() != *wanted)
      return refuse("BadRange",
                    fmt::format("{}: \"{}\" is not a range such as 10.244.0.0/16", role.flag, role.wanted.text),
                    corrected(role, wanted));
    if (wanted->length > role.longest)
      return refuse("RangeTooSmall", fmt::format("{} {} is too small for {}", role.flag, wanted->text(), role.whom),
                    fmt::format("{} {}/{} or larger", role.flag, wanted->ip.text(), role.longest));
    out = role.wanted.given ? keep(role, *wanted) : find(role, *wanted);
    taken_.emplace_back(role, out);
  }

 private:
  static std::string corrected(const Role& role, const std::optional<IpPrefix>& wanted) {
    if (wanted && !wanted->ip.v6) return fmt::format("{} {}", role.flag, wanted->network().text());
    return fmt::format("{} 10.244.0.0/16, or leave the flag away", role.flag);
  }

  void refuse(std::string code, std::string sentence, std::string fix) {
    plan_.findings.push_back({std::move(code), Severity::refuse, std::move(sentence), std::move(fix)});
  }

  const std::pair<Role, IpPrefix>* overlapped(const IpPrefix& range) const {
    const auto found = std::ranges::find_if(taken_, [&](const auto& one) { return one.second.overlaps(range); });
    return found == taken_.end() ? nullptr : &*found;
  }

  const MachineNetwork* clashing(const IpPrefix& range, Clash wanted) const {
    const auto found = std::ranges::find_if(networks_, [&](const auto& one) { return clash(range, one) == wanted; });
    return found == networks_.end() ? nullptr : &*found;
  }

  bool is_free(const IpPrefix& range) const {
    return !overlapped(range) && !clashing(range, Clash::collision) && !clashing(range, Clash::shadow);
  }

  IpPrefix keep(const Role& role, const IpPrefix& wanted) {
    if (const auto* other = overlapped(wanted)) {
      refuse("RangesOverlap",
             fmt::format("{} {} and {} {} overlap", role.flag, wanted.text(), other->first.flag, other->second.text()),
             fmt::format("choose another range for {}, or leave the flag away", role.flag));
    } else if (const auto* network = clashing(wanted, Clash::collision)) {
      const auto free = free_range(wanted.length);
      refuse("RangeCollides",
             fmt::format("{} {} collides with {} of this machine ({})", role.flag, wanted.text(), network->range.text(),
                         network->what),
             free ? fmt::format("{} {}", role.flag, free->text())
                  : fmt::format("choose another range for {}, or leave the flag away", role.flag));
    } else if (const auto* wide = clashing(wanted, Clash::shadow)) {
      plan_.findings.push_back(
          {"RangeShadows", Severity::warn,
           fmt::format("{} {} lies inside {} ({}): what is there at those addresses is out of this machine's reach",
                       role.flag, wanted.text(), wide->range.text(), wide->what),
           fmt::format("leave {} away, and a range is chosen that nobody uses", role.flag)});
    }
    return wanted;
  }

  std::optional<IpPrefix> free_range(int length) const {
    for (const IpPrefix& candidate : candidates(length))
      if (is_free(candidate)) return candidate;
    return std::nullopt;
  }

  // The wanted one, or one of its size, or a smaller one.
  IpPrefix find(const Role& role, const IpPrefix& wanted) {
    if (is_free(wanted)) return wanted;
    for (int length = wanted.length; length <= std::max(wanted.length, std::min(role.longest, 20)); ++length)
      if (const auto free = free_range(length)) {
        note_move(role, wanted, *free);
        return *free;
      }
    refuse("NoFreeRange",
           fmt::format("no private range is left for {}: this machine reaches all of them already", role.whom),
           fmt::format("give one that may be taken: {} RANGE", role.flag));
    return wanted;
  }

  void note_move(const Role& role, const IpPrefix& from, const IpPrefix& to) {
    std::string why;
    if (const auto* other = overlapped(from)) {
      why = fmt::format("{} of {}", other->second.text(), other->first.whom);
    } else {
      const MachineNetwork* network = clashing(from, Clash::collision);
      if (!network) network = clashing(from, Clash::shadow);
      why = fmt::format("{} of this machine ({})", network->range.text(), network->what);
    }
    plan_.findings.push_back(
        {"RangeMoved", Severity::note,
         fmt::format("{} get addresses of {}: the usual {} overlaps {}", role.whom, to.text(), from.text(), why),
         fmt::format("to choose another: {} RANGE", role.flag)});
  }

  const std::vector<MachineNetwork>& networks_;
  RangePlan& plan_;
  std::vector<std::pair<Role, IpPrefix>> taken_;
};

}  // namespace

Clash clash(const IpPrefix& range, const MachineNetwork& network) {
  if (network.range.length == 0 || !range.overlaps(network.range)) return Clash::none;
  // A wider route than ours leaves our more specific one in force; anything inside our range is cut off.
  const bool wider = network.range.length < range.length;
  return wider && !network.is_host ? Clash::shadow : Clash::collision;
}

RangePlan pick_ranges(const std::vector<MachineNetwork>& networks, const WantedRanges& wanted) {
  RangePlan plan;
  Picker picker(networks, plan);
  const auto pods_prefix = IpPrefix::parse(wanted.pods.text);
  // One address for each node that pods have room for, and the range's own.
  const int node_bits = pods_prefix ? std::max(0, wanted.node_mask - pods_prefix->length) + 1 : 1;
  struct Place {
    Role role;
    IpPrefix& out;
  };
  std::vector<Place> places = {{{"pods", "--pod-network-cidr", wanted.pods, wanted.node_mask}, plan.pods},
                               {{"services", "--service-cidr", wanted.services, 28}, plan.services}};
  if (wanted.with_nodes)
    places.push_back({{"nodes", "--node-network-cidr", wanted.nodes, std::max(8, 32 - node_bits)}, plan.nodes});
  for (const bool given : {true, false})
    for (const Place& place : places)
      if (place.role.wanted.given == given) picker.take(place.role, place.out);
  return plan;
}

}  // namespace dure::bootstrap
