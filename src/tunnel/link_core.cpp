#include "tunnel/link_core.h"

#include <utility>

namespace dure::tunnel {
namespace {

constexpr size_t kCountBytes = 8;

std::unexpected<Error> broken(std::string_view why) {
  return fail(Error{502, "LinkBroken", "the peer broke the tunnel protocol: " + std::string(why)});
}

}  // namespace

void LinkCore::append_header(std::string& out, Type type, size_t length) {
  const char bytes[header_bytes] = {static_cast<char>(type), static_cast<char>(length >> 16),
                                    static_cast<char>(length >> 8), static_cast<char>(length)};
  out.append(bytes, header_bytes);
}

std::string LinkCore::count_record(Type type) {
  std::string out;
  append_header(out, type, kCountBytes);
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(received_ >> shift);
  told_ = received_;
  owed_bytes_ = 0;
  return out;
}

SharedBytes LinkCore::keep(std::string_view payload) {
  std::string record;
  record.reserve(header_bytes + payload.size());
  append_header(record, kKept, payload.size());
  record += payload;
  kept_bytes_ += record.size();
  return kept_.emplace_back(std::move(record));
}

std::string LinkCore::loose(std::string_view payload) {
  std::string record;
  record.reserve(header_bytes + payload.size());
  append_header(record, kLoose, payload.size());
  record += payload;
  return record;
}

// Only what is left of a record that is cut in two is copied.
Status LinkCore::feed(std::string_view bytes, const std::function<Status(std::string_view)>& take) {
  if (input_.empty()) {
    const Status taken = take_records(bytes, take);
    input_ = bytes;
    return taken;
  }
  input_ += bytes;
  std::string_view rest = input_;
  const Status taken = take_records(rest, take);
  input_.erase(0, input_.size() - rest.size());
  return taken;
}

Status LinkCore::take_records(std::string_view& bytes, const std::function<Status(std::string_view)>& take) {
  while (bytes.size() >= header_bytes) {
    const auto at = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(bytes[i])); };
    const size_t length = at(1) << 16 | at(2) << 8 | at(3);
    if (length == 0 || length > record_bytes_max) return broken("a record of " + std::to_string(length) + " bytes");
    if (bytes.size() - header_bytes < length) return {};
    const std::string_view payload = bytes.substr(header_bytes, length);
    const auto type = static_cast<Type>(bytes[0]);
    bytes.remove_prefix(header_bytes + length);
    DURE_CHECK(take_record(type, payload, take));
  }
  return {};
}

Status LinkCore::take_record(Type type, std::string_view payload, const std::function<Status(std::string_view)>& take) {
  switch (type) {
    case kKept:
      ++received_;
      owed_bytes_ += payload.size();
      return take(payload);
    case kLoose:
      return take(payload);
    case kPing:
    case kPong:
    case kAck: {
      if (payload.size() != kCountBytes) return broken("a count of " + std::to_string(payload.size()) + " bytes");
      uint64_t count = 0;
      for (const char byte : payload) count = count << 8 | static_cast<uint8_t>(byte);
      if (!can_resume(count)) return broken("it has records that were not sent");
      resume(count);
      if (type == kPing) pinged_ = true;
      return {};
    }
  }
  return broken("unknown record type " + std::to_string(type));
}

void LinkCore::resume(uint64_t peer_received) {
  DURE_ASSERT(can_resume(peer_received));
  for (; first_ < peer_received; ++first_) {
    kept_bytes_ -= kept_.front().size();
    kept_.pop_front();
  }
}

}  // namespace dure::tunnel
