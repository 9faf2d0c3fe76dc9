// PacketQueue: packets on their way into one tunnel, ready as frames. Bounded in bytes; overflow act: the oldest go,
// because a late packet is worth less than a new one and the traffic inside has its own retransmission.
//
// Thread: any. The reader is told when the queue stops being empty, once until it took everything.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "base/metric.h"

namespace dure::tunnel {

class PacketQueue {
 public:
  static constexpr size_t bytes_max = 512 << 10;

  // `frames`: whole PACKET frames, `count` of them. True: the reader sleeps and must be woken.
  bool push(std::string frames, size_t count) {
    if (frames.size() > bytes_max) return drop(count);
    const std::lock_guard lock(mutex_);
    bytes_ += frames.size();
    size_t lost = 0;
    while (bytes_ > bytes_max) {
      bytes_ -= chunks_.front().frames.size();
      lost += chunks_.front().count;
      chunks_.pop_front();
    }
    if (lost > 0) drop(lost);
    // Small pieces are gathered, so that a queue that waits costs one write for many packets.
    if (!chunks_.empty() && chunks_.back().frames.size() + frames.size() <= chunk_bytes_max) {
      chunks_.back().frames += frames;
      chunks_.back().count += count;
    } else {
      chunks_.push_back({std::move(frames), count});
    }
    return !std::exchange(awake_, true);
  }
  // The next piece; empty: there is none, and the reader sleeps again.
  std::string pop() {
    const std::lock_guard lock(mutex_);
    if (chunks_.empty()) {
      awake_ = false;
      return {};
    }
    std::string frames = std::move(chunks_.front().frames);
    bytes_ -= frames.size();
    chunks_.pop_front();
    return frames;
  }
  size_t bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }
  size_t dropped() const { return dropped_; }

 private:
  static constexpr size_t chunk_bytes_max = 32 << 10;
  struct Chunk {
    std::string frames;
    size_t count = 0;
  };
  bool drop(size_t count) {
    static Metric metric(Metric::Kind::counter, "dure_tunnel_packets_dropped_total", {},
                         "Relayed packets dropped because a tunnel does not take them as fast as they come.");
    metric.add(static_cast<int64_t>(count));
    dropped_ += count;
    return false;
  }
  mutable std::mutex mutex_;
  std::deque<Chunk> chunks_;
  size_t bytes_ = 0;
  std::atomic<size_t> dropped_ = 0;
  bool awake_ = false;
};

}  // namespace dure::tunnel
