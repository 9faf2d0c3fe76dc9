// What passes over a port into a virtual machine: frames of a kind, a length and bytes, after an opening that both ends
// look for, because a port keeps what an earlier user of it left behind.
//
// Pure. To the guest: `request` first, then `input` (an empty one: no more comes). From it: `output`, `errors`, and
// `end` with the exit status. Bound: 64 KiB a frame; a longer one ends the conversation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dure::lab {

struct GuestRequest {
  std::vector<std::string> environment;  // "KEY=VALUE", added to the service's
  std::vector<std::string> arguments;    // the program is found on PATH
  int rows = 0, columns = 0;             // of the terminal that is asked for; 0: none
};

struct GuestFrame {
  enum class Kind : char { request = 'r', input = 'i', output = 'o', errors = 'e', end = 'x' };
  Kind kind;
  std::string bytes;
};

constexpr size_t guest_frame_bytes_max = 64 << 10;

std::string guest_frame(GuestFrame::Kind kind, std::string_view bytes);
std::string encode_request(const GuestRequest& request);
std::optional<GuestRequest> decode_request(std::string_view bytes);

// The opening of a conversation; `token` is chosen by who asks and is said again by the guest, before its frames.
constexpr size_t guest_token_bytes = 16;
std::string guest_opening(std::string_view token);

// Takes what comes in, in pieces of any size.
class GuestReader {
 public:
  // Only a conversation with this token; without one: any.
  explicit GuestReader(std::string token = {}) : wanted_(std::move(token)) {}

  void feed(std::string_view bytes);
  bool opened() const { return opened_; }
  const std::string& token() const { return token_; }
  // The next whole frame. Before the opening there is none. A new opening between two frames starts over: then
  // `restarted()` until it is asked.
  std::optional<GuestFrame> next();
  bool restarted() { return std::exchange(restarted_, false); }
  bool broken() const { return broken_; }

 private:
  bool find_opening();

  std::string wanted_, token_, pending_;
  bool opened_ = false, restarted_ = false, broken_ = false;
};

}  // namespace dure::lab
