// OutQueue: bytes on their way out, in order. Small pieces are gathered into one buffer (one record, one system
// call); large ones are kept by reference, so that a body handed to a thousand watchers exists once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace dure::wire {

class OutQueue {
 public:
  void push(SharedBytes bytes) {
    if (bytes.empty()) return;
    if (bytes.size() < gather_bytes_max) return push_text(bytes.view());
    size_ += bytes.size();
    segments_.push_back({{}, std::move(bytes)});
  }
  void push_text(std::string_view text) {
    size_ += text.size();
    while (!text.empty()) {
      if (segments_.size() == head_ || !segments_.back().shared.empty() ||
          segments_.back().own.size() >= gather_bytes_max)
        segments_.emplace_back();
      std::string& own = segments_.back().own;
      const std::string_view part = text.substr(0, gather_bytes_max - own.size());
      // A second piece means that more may come: room for a whole record, instead of growing step by step.
      if (!own.empty() && own.capacity() - own.size() < part.size()) own.reserve(gather_bytes_max);
      own.append(part);
      text.remove_prefix(part.size());
    }
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view front() const { return segments_[head_].view().substr(offset_); }
  void pop(size_t count) {
    size_ -= count;
    offset_ += count;
    if (offset_ < segments_[head_].view().size()) return;
    offset_ = 0;
    segments_[head_] = {};
    if (++head_ == segments_.size()) {
      head_ = 0;
      segments_.clear();
      if (segments_.capacity() > 16) segments_.shrink_to_fit();
    } else if (head_ >= 64 && head_ * 2 >= segments_.size()) {
      segments_.erase(segments_.begin(), segments_.begin() + long(head_));
      head_ = 0;
    }
  }
  void clear() {
    segments_.clear();
    head_ = offset_ = size_ = 0;
  }

 private:
  static constexpr size_t gather_bytes_max = 16 << 10;  // what one TLS record holds
  struct Segment {
    std::string own;
    SharedBytes shared;
    std::string_view view() const { return shared.empty() ? std::string_view(own) : shared.view(); }
  };
  std::vector<Segment> segments_;
  size_t head_ = 0, offset_ = 0, size_ = 0;
};

}  // namespace dure::wire
