// MtuSearch: the largest packet that passes a path, found with a few padded pings. Pure.
//
// Sizes are whole IP packets as WireGuard would send them. The usual limits are tried (plain Ethernet, PPPoE, tunnels),
// the largest first, then by halving what is left. A size counts as too large when `tries` pings of it in a row were
// not answered while the path was alive, or when the kernel refused to send it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/time.h"

namespace dure::overlay {

class MtuSearch {
 public:
  static constexpr std::array<uint16_t, 13> sizes = {1280, 1320, 1340, 1360, 1380, 1400, 1420,
                                                     1444, 1452, 1472, 1480, 1492, 1500};
  static constexpr uint16_t least = sizes.front();
  static constexpr int tries = 3;
  static constexpr Duration patience = 400ms;  // for one ping; a slow path asks for more
  static constexpr Duration repeat = 10min;    // paths change

  // The size to ping now; nothing when there is nothing to do.
  std::optional<uint16_t> due(Monotonic now) const;
  std::optional<Monotonic> next() const { return searching() ? std::optional(when_) : std::nullopt; }
  void sent(Monotonic now, Duration round_trip);
  void passed(uint16_t size);
  void too_large(uint16_t size);
  void unanswered();  // the latest ping; told by the owner when `due` came again without an answer
  void restart(Monotonic now);

  bool searching() const { return low_ + 1 < high_; }
  // 0: not known yet. Below `least`: not even that passes.
  uint16_t mtu() const { return low_ >= 0 ? sizes[static_cast<size_t>(low_)] : 0; }
  bool too_small() const { return high_ == 0; }

 private:
  int next_index() const;

  int low_ = -1;                               // the largest that passed
  int high_ = static_cast<int>(sizes.size());  // the smallest that did not
  int tried_ = 0;
  bool first_ = true;
  Monotonic when_{};
};

}  // namespace dure::overlay
