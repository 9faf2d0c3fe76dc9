// MuxCore: many byte streams in both directions over one ordered byte connection, as a state machine without I/O: bytes
// and calls go in, frames to send and events come out. Either side may open streams; the side that dialled uses odd
// ids.
//
// Frame: 1 byte type, 4 bytes stream id, 4 bytes number (big endian), then `number` bytes of payload for DATA only.
//   OPEN      number = the opener's receive window          DATA    number = length of what follows (1 to 16384)
//   WINDOW    number = bytes the receiver takes further     FINISH  no more data from the sender (half close)
//   RESET     number = reason, both directions are over
//   PACKET    id = whom it is for (from), number = length of what follows (1 to 16384): sent once, may be lost
//
// Bounds: at most `streams_max` open streams (further OPENs are answered RESET refused); at most `window` bytes
// received and not consumed per stream: a peer that sends more breaks the protocol, and the connection is over; at most
// `held_bytes_max` received and not consumed on all streams together: the stream that goes beyond is reset. Thread:
// one.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dure::tunnel {

class MuxCore {
 public:
  static constexpr uint32_t window = 256 << 10;
  static constexpr size_t frame_bytes_max = 16 << 10;
  static constexpr size_t streams_max = 1024;
  static constexpr size_t held_bytes_max = 16 << 20;
  static constexpr size_t header_bytes = 9;

  struct Event {
    enum class Kind { opened, data, finished, reset, writable };
    Kind kind;
    uint32_t stream = 0;
    std::string data = {};  // data only
  };

  // Packets in the order of arrival, one behind the other in `bytes`.
  struct Packets {
    struct One {
      uint32_t number;  // the frame's id: the sender, or whom it is for
      uint32_t size;
    };
    std::string bytes;
    std::vector<One> items;
    bool empty() const { return items.empty(); }
  };

  explicit MuxCore(bool dialled) : next_(dialled ? 1 : 2) {}

  // Bytes from the connection. An Error ("MuxBroken") ends it: nothing may be fed after.
  Status feed(std::string_view bytes);
  bool next_event(Event& event);

  // Opens a stream; 0 when too many are open.
  uint32_t open();
  // How many bytes may be sent on a stream now; 0: wait for `writable`.
  size_t credit(uint32_t stream) const;
  // `bytes` must fit the credit.
  void send(uint32_t stream, std::string_view bytes);
  void finish(uint32_t stream);
  void reset(uint32_t stream);
  // The reader took `bytes` of received data: the peer may send as many again. Every byte of a data event is given back
  // here once, also when its stream is over by then.
  void consumed(uint32_t stream, size_t bytes);
  // A ready PACKET frame, appended to `out`; `bytes` are 1 to frame_bytes_max.
  static void append_packet(std::string& out, uint32_t number, std::string_view bytes);
  // What came since the last call; take it after each feed.
  Packets take_packets() { return std::exchange(packets_, {}); }

  // Frames to send; the caller takes them all.
  std::string take_output() { return std::exchange(output_, {}); }
  size_t output_bytes() const { return output_.size(); }
  size_t open_streams() const { return streams_.size(); }
  size_t held_bytes() const { return held_; }

 private:
  enum Type : uint8_t { kOpen = 1, kData, kWindow, kFinish, kReset, kPacket };
  struct Stream {
    uint32_t credit = 0;           // what we may send
    uint32_t receivable = window;  // what the peer may send
    uint32_t owed = 0;             // consumed, not yet told
    bool sent_finish = false, got_finish = false;
  };
  static void append_frame(std::string& out, Type type, uint32_t stream, uint32_t number);
  void frame(Type type, uint32_t stream, uint32_t number) { append_frame(output_, type, stream, number); }
  // Takes whole frames off the front of `bytes`.
  Status take_frames(std::string_view& bytes);
  Status on_frame(Type type, uint32_t id, uint32_t number, std::string_view payload);
  Status on_open(uint32_t id, uint32_t number);
  Status on_data(uint32_t id, std::string_view payload);
  void close_when_done(uint32_t id);

  std::map<uint32_t, Stream> streams_;
  std::deque<Event> events_;
  std::string input_, output_;
  Packets packets_;
  size_t held_ = 0;  // given out in data events and not yet consumed
  uint32_t next_;
  uint32_t highest_peer_ = 0;
};

}  // namespace dure::tunnel
