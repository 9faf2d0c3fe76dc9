#include "tunnel/mux_core.h"

#include <algorithm>

namespace dure::tunnel {
namespace {

constexpr size_t kHeader = 9;

uint32_t read_u32(std::string_view bytes, size_t at) {
  uint32_t out = 0;
  for (size_t i = 0; i < 4; ++i) out = out << 8 | static_cast<uint8_t>(bytes[at + i]);
  return out;
}

std::unexpected<Error> broken(std::string_view why) {
  return fail(Error{502, "MuxBroken", "the peer broke the tunnel protocol: " + std::string(why)});
}

}  // namespace

void MuxCore::frame(Type type, uint32_t stream, uint32_t number) {
  output_ += static_cast<char>(type);
  for (int shift = 24; shift >= 0; shift -= 8) output_ += static_cast<char>(stream >> shift);
  for (int shift = 24; shift >= 0; shift -= 8) output_ += static_cast<char>(number >> shift);
}

Status MuxCore::feed(std::string_view bytes) {
  input_.append(bytes);
  size_t at = 0;
  Status result;
  while (result && input_.size() - at >= kHeader) {
    const auto type = static_cast<Type>(input_[at]);
    const uint32_t id = read_u32(input_, at + 1), number = read_u32(input_, at + 5);
    size_t length = 0;
    if (type == kData) {
      if (number == 0 || number > frame_bytes_max) {
        result = broken("data frame of " + std::to_string(number) + " bytes");
        break;
      }
      length = number;
      if (input_.size() - at < kHeader + length) break;
    }
    result = on_frame(type, id, number, std::string_view(input_).substr(at + kHeader, length));
    at += kHeader + length;
  }
  input_.erase(0, at);
  return result;
}

Status MuxCore::on_frame(Type type, uint32_t id, uint32_t number, std::string_view payload) {
  const auto found = streams_.find(id);
  switch (type) {
    case kOpen:
      return on_open(id, number);
    case kData:
      return on_data(id, payload);
    case kWindow:
      if (found == streams_.end()) return {};
      if (number > UINT32_MAX - found->second.credit) return broken("window overflow");
      found->second.credit += number;
      events_.push_back({Event::Kind::writable, id});
      return {};
    case kFinish:
      if (found == streams_.end() || found->second.got_finish) return {};
      found->second.got_finish = true;
      events_.push_back({Event::Kind::finished, id});
      close_when_done(id);
      return {};
    case kReset:
      if (streams_.erase(id)) events_.push_back({Event::Kind::reset, id});
      return {};
    case kPing:
      frame(kPong, 0, number);
      return {};
    case kPong:
      events_.push_back({Event::Kind::pong, 0, {}, number});
      return {};
    case kGoaway:
      refused_ = true;
      events_.push_back({Event::Kind::goaway});
      return {};
  }
  return broken("unknown frame type " + std::to_string(type));
}

Status MuxCore::on_open(uint32_t id, uint32_t number) {
  // The peer's ids have the other parity and only grow.
  if (id == 0 || id % 2 == next_ % 2 || id <= highest_peer_) return broken("stream id " + std::to_string(id));
  highest_peer_ = id;
  if (refused_ || streams_.size() >= streams_max) {
    frame(kReset, id, 1);
    return {};
  }
  streams_[id].credit = number;
  events_.push_back({Event::Kind::opened, id});
  return {};
}

Status MuxCore::on_data(uint32_t id, std::string_view payload) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return {};  // reset meanwhile
  Stream& stream = found->second;
  if (stream.got_finish) return broken("data after the end of a stream");
  if (payload.size() > stream.receivable) return broken("more data than the window allows");
  stream.receivable -= static_cast<uint32_t>(payload.size());
  events_.push_back({Event::Kind::data, id, std::string(payload)});
  return {};
}

bool MuxCore::next_event(Event& event) {
  if (events_.empty()) return false;
  event = std::move(events_.front());
  events_.pop_front();
  return true;
}

uint32_t MuxCore::open() {
  if (refused_ || streams_.size() >= streams_max || next_ > UINT32_MAX - 2) return 0;
  const uint32_t id = next_;
  next_ += 2;
  // The peer's window is known only from its WINDOW frame; both sides start with the same constant.
  streams_[id].credit = window;
  frame(kOpen, id, window);
  return id;
}

size_t MuxCore::credit(uint32_t stream) const {
  const auto found = streams_.find(stream);
  return found == streams_.end() || found->second.sent_finish ? 0 : found->second.credit;
}

void MuxCore::send(uint32_t id, std::string_view bytes) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  DURE_ASSERT(bytes.size() <= found->second.credit && !found->second.sent_finish);
  found->second.credit -= static_cast<uint32_t>(bytes.size());
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, frame_bytes_max);
    frame(kData, id, static_cast<uint32_t>(part.size()));
    output_ += part;
    bytes.remove_prefix(part.size());
  }
}

void MuxCore::finish(uint32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || found->second.sent_finish) return;
  found->second.sent_finish = true;
  frame(kFinish, id, 0);
  close_when_done(id);
}

void MuxCore::reset(uint32_t id) {
  if (streams_.erase(id)) frame(kReset, id, 0);
}

void MuxCore::consumed(uint32_t id, size_t bytes) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || found->second.got_finish) return;
  Stream& stream = found->second;
  stream.owed += static_cast<uint32_t>(bytes);
  if (stream.owed < window / 4) return;
  frame(kWindow, id, stream.owed);
  stream.receivable += stream.owed;
  stream.owed = 0;
}

void MuxCore::ping(uint32_t number) { frame(kPing, 0, number); }

void MuxCore::goaway() {
  refused_ = true;
  frame(kGoaway, 0, 0);
}

void MuxCore::close_when_done(uint32_t id) {
  const auto found = streams_.find(id);
  if (found != streams_.end() && found->second.sent_finish && found->second.got_finish) streams_.erase(found);
}

}  // namespace dure::tunnel
