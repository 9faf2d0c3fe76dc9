#include "store/log_frame.h"

#include <cstring>

#include "store/crc32c.h"

namespace dure::store {
namespace {

constexpr size_t shrink_above = 1 << 20;

template <class T>
void store_at(std::string& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

template <class T>
T load_at(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

void append_varint(std::string& bytes, uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
}

size_t padded(size_t bytes) { return (bytes + block_bytes - 1) / block_bytes * block_bytes; }

bool known(FrameKind kind) { return kind >= FrameKind::batch && kind <= FrameKind::end; }

}  // namespace

void FrameBuilder::clear() {
  bytes_.assign(frame_header_bytes, '\0');
  if (bytes_.capacity() > shrink_above) bytes_.shrink_to_fit();
  records_ = 0;
}

void FrameBuilder::add(const Record& record) {
  bytes_.push_back(record.removed() ? 1 : 0);
  append_varint(bytes_, static_cast<uint64_t>(record.create_revision()));
  append_varint(bytes_, static_cast<uint64_t>(record.mod_revision()));
  append_varint(bytes_, record.key().size());
  append_varint(bytes_, record.value().size());
  bytes_.append(record.key());
  bytes_.append(record.value().view());
  ++records_;
}

size_t FrameBuilder::bytes_on_disk() const { return padded(bytes_.size()); }

std::string_view FrameBuilder::seal(FrameHeader header, uint32_t salt) {
  const size_t size = bytes_.size();
  store_at(bytes_, 4, static_cast<uint32_t>(payload_bytes()));
  store_at(bytes_, 8, header.sequence);
  store_at(bytes_, 16, header.revision);
  store_at(bytes_, 24, header.reserved);
  store_at(bytes_, 32, static_cast<uint32_t>(header.kind));
  store_at(bytes_, 36, records_);
  store_at(bytes_, 0, crc32c(std::string_view(bytes_).substr(4), salt));
  bytes_.resize(padded(size));
  return bytes_;
}

uint32_t frame_salt(uint64_t identity, std::string_view file_kind, uint64_t file_number) {
  std::string text(16, '\0');
  store_at(text, 0, identity);
  store_at(text, 8, file_number);
  return crc32c(text.append(file_kind));
}

std::optional<Frame> read_frame(std::string_view bytes, uint32_t salt) {
  if (bytes.size() < frame_header_bytes) return {};
  const auto payload_bytes = load_at<uint32_t>(bytes, 4);
  if (payload_bytes > bytes.size() - frame_header_bytes) return {};
  Frame frame;
  frame.header.sequence = load_at<uint64_t>(bytes, 8);
  frame.header.revision = load_at<Revision>(bytes, 16);
  frame.header.reserved = load_at<Revision>(bytes, 24);
  frame.header.kind = static_cast<FrameKind>(load_at<uint32_t>(bytes, 32));
  frame.header.records = load_at<uint32_t>(bytes, 36);
  if (frame.header.sequence == 0 || !known(frame.header.kind)) return {};
  const std::string_view summed = bytes.substr(4, frame_header_bytes - 4 + payload_bytes);
  if (crc32c(summed, salt) != load_at<uint32_t>(bytes, 0)) return {};
  frame.payload = bytes.substr(frame_header_bytes, payload_bytes);
  frame.bytes_on_disk = padded(frame_header_bytes + payload_bytes);
  return frame;
}

std::optional<uint64_t> RecordReader::varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return {};
}

RecordRef RecordReader::next() {
  if (left_ == 0 || malformed_) return {};
  malformed_ = true;  // until the record is whole
  if (rest_.empty()) return {};
  const bool removed = rest_.front() & 1;
  rest_.remove_prefix(1);
  const auto create = varint(), mod = varint(), key_size = varint(), value_size = varint();
  if (!create || !mod || !key_size || !value_size) return {};
  if (*key_size == 0 || *key_size > rest_.size() || *value_size > rest_.size() - *key_size) return {};
  const std::string_view key = rest_.substr(0, *key_size), value = rest_.substr(*key_size, *value_size);
  rest_.remove_prefix(*key_size + *value_size);
  --left_;
  malformed_ = false;
  return Record::make(key, {.create_revision = static_cast<Revision>(*create),
                            .mod_revision = static_cast<Revision>(*mod),
                            .value = removed ? SharedBytes() : SharedBytes(std::string(value)),
                            .removed = removed});
}

}  // namespace dure::store
