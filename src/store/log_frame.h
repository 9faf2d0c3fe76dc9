// Frames: the one format in which the store writes to disk, in log segments and checkpoints alike.
//
//   0  u32  CRC-32C of all that follows, begun with the salt of the file
//   4  u32  bytes of payload
//   8  u64  sequence: 1, 2, 3 ... through all log segments (a checkpoint counts its own)
//  16  i64  revision after the frame
//  24  i64  reserved: no revision above it has been handed out, even for writes that are not in the log
//  32  u32  kind
//  36  u32  records in the payload
//  40  payload: records, each: flags u8 (1: removed), varints create revision, mod revision, key size, value size; key;
//  value
//
// All little endian. A frame begins at a multiple of block_bytes and is padded with zeros to the next one: a block
// that holds acknowledged writes is never written again, so a write that power loss tears cannot hurt them. A frame
// is one unit of durability: it is there as a whole or not at all, and frame n+1 is written only after frame n is
// synced. The salt (store identity and file) keeps what an earlier use of the same blocks left behind from being
// read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/record.h"

namespace dure::store {

constexpr size_t block_bytes = 4096;
constexpr size_t frame_header_bytes = 40;

enum class FrameKind : uint32_t { batch = 1, clean = 2, entries = 3, end = 4 };

struct FrameHeader {
  uint64_t sequence = 0;
  Revision revision = 0, reserved = 0;
  FrameKind kind = FrameKind::batch;
  uint32_t records = 0;
};

struct Frame {
  FrameHeader header;
  std::string_view payload;  // into the bytes read
  size_t bytes_on_disk = 0;  // with padding
};

// Builds one frame in a buffer that is used again.
class FrameBuilder {
 public:
  FrameBuilder() { clear(); }
  void clear();
  void add(const Record& record);
  uint32_t records() const { return records_; }
  size_t payload_bytes() const { return bytes_.size() - frame_header_bytes; }
  size_t bytes_on_disk() const;
  // Completes header, checksum and padding; the view is valid until `clear`.
  std::string_view seal(FrameHeader header, uint32_t salt);

 private:
  std::string bytes_;
  uint32_t records_ = 0;
};

uint32_t frame_salt(uint64_t identity, std::string_view file_kind, uint64_t file_number);

// The frame at the beginning of `bytes`; nothing when it is damaged, foreign or no frame.
std::optional<Frame> read_frame(std::string_view bytes, uint32_t salt);

// Takes the records out of a payload one by one.
class RecordReader {
 public:
  explicit RecordReader(const Frame& frame) : rest_(frame.payload), left_(frame.header.records) {}
  // A null reference at the end or when the payload is malformed: then `complete` tells which.
  RecordRef next();
  bool complete() const { return left_ == 0 && rest_.empty() && !malformed_; }

 private:
  std::optional<uint64_t> varint();

  std::string_view rest_;
  uint32_t left_;
  bool malformed_ = false;
};

}  // namespace dure::store
