#include "tunnel/mux_core.h"

#include <algorithm>

namespace dure::tunnel {
namespace {

constexpr uint32_t kRefused = 1, kOverBudget = 2;  // reasons of a RESET

uint32_t read_u32(std::string_view bytes, size_t at) {
  uint32_t out = 0;
  for (size_t i = 0; i < 4; ++i) out = out << 8 | static_cast<uint8_t>(bytes[at + i]);
  return out;
}

std::unexpected<Error> broken(std::string_view why) {
  return fail(Error{502, "MuxBroken", "the peer broke the tunnel protocol: " + std::string(why)});
}

}  // namespace

void MuxCore::append_frame(std::string& out, Type type, uint32_t stream, uint32_t number) {
  const char bytes[header_bytes] = {
      static_cast<char>(type),         static_cast<char>(stream >> 24), static_cast<char>(stream >> 16),
      static_cast<char>(stream >> 8),  static_cast<char>(stream),       static_cast<char>(number >> 24),
      static_cast<char>(number >> 16), static_cast<char>(number >> 8),  static_cast<char>(number)};
  out.append(bytes, header_bytes);
}

void MuxCore::append_packet(std::string& out, uint32_t number, std::string_view bytes) {
  append_frame(out, kPacket, number, static_cast<uint32_t>(bytes.size()));
  out += bytes;
}

// Only what is left of a frame that is cut in two is copied.
Status MuxCore::feed(std::string_view bytes) {
  if (input_.empty()) {
    const Status taken = take_frames(bytes);
    input_ = bytes;
    return taken;
  }
  input_ += bytes;
  std::string_view rest = input_;
  const Status taken = take_frames(rest);
  input_.erase(0, input_.size() - rest.size());
  return taken;
}

Status MuxCore::take_frames(std::string_view& bytes) {
  while (bytes.size() >= header_bytes) {
    const auto type = static_cast<Type>(bytes[0]);
    const uint32_t id = read_u32(bytes, 1), number = read_u32(bytes, 5);
    size_t length = 0;
    if (type == kData || type == kPacket) {
      if (number == 0 || number > frame_bytes_max)
        return broken("frame with " + std::to_string(number) + " bytes of payload");
      length = number;
      if (bytes.size() - header_bytes < length) return {};
    }
    const std::string_view payload = bytes.substr(header_bytes, length);
    bytes.remove_prefix(header_bytes + length);
    if (type == kPacket) {
      packets_.items.push_back({id, number});
      packets_.bytes += payload;
      continue;
    }
    DURE_CHECK(on_frame(type, id, number, payload));
  }
  return {};
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
    case kPacket:
      break;  // taken before
  }
  return broken("unknown frame type " + std::to_string(type));
}

Status MuxCore::on_open(uint32_t id, uint32_t number) {
  // The peer's ids have the other parity and only grow.
  if (id == 0 || id % 2 == next_ % 2 || id <= highest_peer_) return broken("stream id " + std::to_string(id));
  highest_peer_ = id;
  if (streams_.size() >= streams_max) {
    frame(kReset, id, kRefused);
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
  if (held_ + payload.size() > held_bytes_max) {
    // Somebody does not read what he asked for; the others go on.
    streams_.erase(id);
    frame(kReset, id, kOverBudget);
    events_.push_back({Event::Kind::reset, id});
    return {};
  }
  stream.receivable -= static_cast<uint32_t>(payload.size());
  held_ += payload.size();
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
  if (streams_.size() >= streams_max || next_ > UINT32_MAX - 2) return 0;
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
  held_ -= std::min(held_, bytes);
  const auto found = streams_.find(id);
  if (found == streams_.end() || found->second.got_finish) return;
  Stream& stream = found->second;
  stream.owed += static_cast<uint32_t>(bytes);
  if (stream.owed < window / 4) return;
  frame(kWindow, id, stream.owed);
  stream.receivable += stream.owed;
  stream.owed = 0;
}

void MuxCore::close_when_done(uint32_t id) {
  const auto found = streams_.find(id);
  if (found != streams_.end() && found->second.sent_finish && found->second.got_finish) streams_.erase(found);
}

}  // namespace dure::tunnel
