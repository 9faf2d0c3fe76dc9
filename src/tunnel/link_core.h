// LinkCore: a byte stream that outlives its connections, as a state machine without I/O. What was sent is kept until
// the other end has it; on the next connection both say how much they have, and the rest is sent again.
//
// Record: 1 byte type, 3 bytes length (big endian), payload.
//   KEPT  counted, kept until acknowledged     PING, PONG  8 bytes: as ACK; a PING is answered
//   LOOSE not counted: sent once, may be lost  ACK         8 bytes: how many KEPT records were received, since ever
//
// Bounds: a record has at most `record_bytes_max`; what is kept is for the owner to watch (`kept_bytes`). Thread: one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace dure::tunnel {

class LinkCore {
 public:
  static constexpr size_t header_bytes = 4, record_bytes_max = 1 << 20;

  // A connection begins: what is left of a record from the former one is forgotten.
  void begin() { input_.clear(); }
  // Bytes from the connection; `take` gets the payload of each whole KEPT and LOOSE record, valid during the call. An
  // Error ("LinkBroken") ends the link.
  Status feed(std::string_view bytes, const std::function<Status(std::string_view)>& take);
  // True once per PING that came.
  bool take_ping() { return std::exchange(pinged_, false); }
  // Enough came since the other end was told last.
  bool owes_ack() const { return received_ - told_ >= ack_records || owed_bytes_ >= ack_bytes; }

  // Ready records. `payload` has 1 to record_bytes_max bytes.
  SharedBytes keep(std::string_view payload);
  static std::string loose(std::string_view payload);
  std::string ack() { return count_record(kAck); }
  std::string ping() { return count_record(kPing); }
  std::string pong() { return count_record(kPong); }

  uint64_t received() const { return received_; }
  size_t kept_bytes() const { return kept_bytes_; }
  // Whether a peer that has so many of our records can go on.
  bool can_resume(uint64_t peer_received) const {
    return peer_received >= first_ && peer_received <= first_ + kept_.size();
  }
  // Forgets what the peer has. What is then in `kept` is to be sent again. Only when `can_resume`.
  void resume(uint64_t peer_received);
  const std::deque<SharedBytes>& kept() const { return kept_; }

 private:
  enum Type : uint8_t { kKept = 1, kLoose, kAck, kPing, kPong };
  static constexpr uint64_t ack_records = 64, ack_bytes = 64 << 10;

  static void append_header(std::string& out, Type type, size_t length);
  std::string count_record(Type type);
  Status take_records(std::string_view& bytes, const std::function<Status(std::string_view)>& take);
  Status take_record(Type type, std::string_view payload, const std::function<Status(std::string_view)>& take);

  std::string input_;
  std::deque<SharedBytes> kept_;  // records, the first one is number first_
  uint64_t first_ = 0;
  size_t kept_bytes_ = 0;
  uint64_t received_ = 0, told_ = 0, owed_bytes_ = 0;
  bool pinged_ = false;
};

}  // namespace dure::tunnel
