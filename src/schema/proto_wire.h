// The wire format of protobuf: tags, varints, lengths. Internal to the protobuf codec.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace dure::schema::wire_format {

enum Wire : uint32_t { varint = 0, fixed64 = 1, delimited = 2, fixed32 = 5 };

inline void put_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}
inline void put_tag(std::string& out, uint32_t number, Wire kind) { put_varint(out, number << 3 | kind); }
inline void put_text(std::string& out, uint32_t number, std::string_view text) {
  put_tag(out, number, delimited);
  put_varint(out, text.size());
  out += text;
}

// Writes a length in front of what is appended between construction and close().
class Delimited {
 public:
  Delimited(std::string& out, uint32_t number) : out_(out) {
    put_tag(out, number, delimited);
    out += '\0';
    start_ = out.size();
  }
  explicit Delimited(std::string& out) : out_(out) {
    out += '\0';
    start_ = out.size();
  }
  void close() {
    uint64_t length = out_.size() - start_;
    char bytes[10];
    size_t count = 0;
    for (uint64_t rest = length; rest >= 0x80; rest >>= 7) bytes[count++] = static_cast<char>(rest | 0x80);
    bytes[count] = static_cast<char>(length >> (7 * count));
    out_[start_ - 1] = bytes[0];
    if (count > 0) out_.insert(start_, bytes + 1, count);
  }

 private:
  std::string& out_;
  size_t start_ = 0;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : p_(bytes.data()), end_(p_ + bytes.size()) {}
  bool done() const { return p_ >= end_; }

  bool read_varint(uint64_t& out) {
    out = 0;
    for (unsigned shift = 0; shift < 64 && p_ < end_; shift += 7) {
      const auto byte = static_cast<uint8_t>(*p_++);
      out |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool read_tag(uint32_t& number, Wire& kind) {
    uint64_t tag;
    if (!read_varint(tag) || tag >> 32 || tag >> 3 == 0) return false;
    number = static_cast<uint32_t>(tag >> 3);
    kind = static_cast<Wire>(tag & 7);
    return true;
  }
  bool read_delimited(std::string_view& out) {
    uint64_t length;
    if (!read_varint(length) || length > static_cast<uint64_t>(end_ - p_)) return false;
    out = {p_, static_cast<size_t>(length)};
    p_ += length;
    return true;
  }
  bool read_fixed64(uint64_t& out) {
    if (end_ - p_ < 8) return false;
    std::memcpy(&out, p_, 8);
    p_ += 8;
    return true;
  }
  bool read_fixed32(uint32_t& out) {
    if (end_ - p_ < 4) return false;
    std::memcpy(&out, p_, 4);
    p_ += 4;
    return true;
  }
  bool skip(Wire kind) {
    uint64_t number;
    uint32_t small;
    std::string_view text;
    switch (kind) {
      case varint:
        return read_varint(number);
      case fixed64:
        return read_fixed64(number);
      case delimited:
        return read_delimited(text);
      case fixed32:
        return read_fixed32(small);
    }
    return false;  // groups are not used
  }

 private:
  const char* p_;
  const char* end_;
};

}  // namespace dure::schema::wire_format
