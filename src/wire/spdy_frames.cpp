#include "wire/spdy_frames.h"

#include <zlib.h>

#include "base/text.h"

namespace dure::wire {
namespace {

constexpr size_t control_bytes_max = 256 << 10, header_bytes_max = 256 << 10;
constexpr uint32_t id_mask = 0x7fffffff;

void put32(std::string& out, uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) out += char(value >> shift & 0xff);
}
void put24(std::string& out, uint32_t value) {
  for (const int shift : {16, 8, 0}) out += char(value >> shift & 0xff);
}
uint32_t get32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}
std::unexpected<Error> broken(std::string_view why) {
  return fail(
      Error{.code = 502, .reason = "SpdyProtocolError", .message = "SPDY: " + std::string(why)});
}

// The preset dictionary of SPDY/3 header blocks: names and values with their lengths in front, then
// loose text.
const std::string& dictionary() {
  static const std::string text = [] {
    std::string out;
    for (const char* word : {"options",
                             "head",
                             "post",
                             "put",
                             "delete",
                             "trace",
                             "accept",
                             "accept-charset",
                             "accept-encoding",
                             "accept-language",
                             "accept-ranges",
                             "age",
                             "allow",
                             "authorization",
                             "cache-control",
                             "connection",
                             "content-base",
                             "content-encoding",
                             "content-language",
                             "content-length",
                             "content-location",
                             "content-md5",
                             "content-range",
                             "content-type",
                             "date",
                             "etag",
                             "expect",
                             "expires",
                             "from",
                             "host",
                             "if-match",
                             "if-modified-since",
                             "if-none-match",
                             "if-range",
                             "if-unmodified-since",
                             "last-modified",
                             "location",
                             "max-forwards",
                             "pragma",
                             "proxy-authenticate",
                             "proxy-authorization",
                             "range",
                             "referer",
                             "retry-after",
                             "server",
                             "te",
                             "trailer",
                             "transfer-encoding",
                             "upgrade",
                             "user-agent",
                             "vary",
                             "via",
                             "warning",
                             "www-authenticate",
                             "method",
                             "get",
                             "status",
                             "200 OK",
                             "version",
                             "HTTP/1.1",
                             "url",
                             "public",
                             "set-cookie",
                             "keep-alive",
                             "origin"}) {
      put32(out, uint32_t(std::string_view(word).size()));
      out += word;
    }
    out +=
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
        "Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service "
        "Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, "
        "Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/"
        "xhtml+xml,text/plain,"
        "text/"
        "javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,"
        "enq=0.";
    return out;
  }();
  return text;
}
const Bytef* raw(std::string_view text) { return reinterpret_cast<const Bytef*>(text.data()); }

Result<Headers> parse_block(std::string_view block) {
  Headers headers;
  if (block.size() < 4) return broken("header block is too short");
  const uint32_t count = get32(block, 0);
  block.remove_prefix(4);
  const auto take = [&](std::string_view& out) {
    if (block.size() < 4) return false;
    const uint32_t size = get32(block, 0);
    if (block.size() - 4 < size) return false;
    out = block.substr(4, size);
    block.remove_prefix(4 + size);
    return true;
  };
  for (uint32_t i = 0; i < count; ++i) {
    std::string_view name, values;
    if (!take(name) || !take(values)) return broken("header block ends early");
    for (const auto value : split(values, '\0')) headers.add(name, value);
  }
  return headers;
}

std::string control_head(SpdyType type, uint8_t flags, size_t size) {
  std::string out;
  put32(out, 0x80030000u | uint32_t(type));
  out += char(flags);
  put24(out, uint32_t(size));
  return out;
}

}  // namespace

struct SpdyReader::Inflate {
  z_stream stream = {};
  Inflate() { DURE_ASSERT(inflateInit(&stream) == Z_OK); }
  ~Inflate() { inflateEnd(&stream); }
};
SpdyReader::SpdyReader() = default;
SpdyReader::~SpdyReader() = default;

Result<Headers> SpdyReader::decompress(std::string_view block) {
  if (!inflate_) inflate_ = std::make_unique<Inflate>();
  z_stream& stream = inflate_->stream;
  stream.next_in = const_cast<Bytef*>(raw(block));
  stream.avail_in = uInt(block.size());
  std::string out;
  char buffer[4096];
  for (;;) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof buffer;
    int answer = inflate(&stream, Z_SYNC_FLUSH);
    if (answer == Z_NEED_DICT) {
      answer = inflateSetDictionary(&stream, raw(dictionary()), uInt(dictionary().size()));
      if (answer != Z_OK) return broken("header block uses another dictionary");
      continue;
    }
    out.append(buffer, sizeof buffer - stream.avail_out);
    if (out.size() > header_bytes_max) return broken("header block is too large");
    if (answer == Z_STREAM_END || (answer == Z_BUF_ERROR && stream.avail_out > 0)) break;
    if (answer != Z_OK && answer != Z_BUF_ERROR) return broken("header block does not decompress");
    if (stream.avail_in == 0 && stream.avail_out > 0) break;
  }
  return parse_block(out);
}

Status SpdyReader::feed(std::string_view bytes, SpdySink& sink) {
  while (!bytes.empty()) {
    if (data_left_ > 0) {
      const auto piece = bytes.substr(0, data_left_);
      bytes.remove_prefix(piece.size());
      data_left_ -= uint32_t(piece.size());
      sink.on_data(data_stream_, piece);
      if (data_left_ == 0 && data_fin_) sink.on_fin(data_stream_);
      continue;
    }
    if (pending_.size() < 8) {
      const auto part = bytes.substr(0, 8 - pending_.size());
      pending_ += part;
      bytes.remove_prefix(part.size());
      if (pending_.size() < 8) return {};
    }
    const uint32_t size = get32(pending_, 4) & 0xffffff;
    if (!(pending_[0] & 0x80)) {
      data_stream_ = get32(pending_, 0) & id_mask;
      data_fin_ = pending_[4] & spdy_flag_fin;
      data_left_ = size;
      pending_.clear();
      if (size == 0 && data_fin_) sink.on_fin(data_stream_);
      continue;
    }
    if (size > control_bytes_max) return broken("control frame is too large");
    const auto part = bytes.substr(0, 8 + size - pending_.size());
    pending_ += part;
    bytes.remove_prefix(part.size());
    if (pending_.size() < 8 + size) return {};
    const std::string frame = std::exchange(pending_, {});
    DURE_CHECK(control_frame(frame, sink));
  }
  // A control frame without a body is complete with its head.
  if (pending_.size() == 8 && (pending_[0] & 0x80) && (get32(pending_, 4) & 0xffffff) == 0) {
    const std::string frame = std::exchange(pending_, {});
    return control_frame(frame, sink);
  }
  return {};
}

Status SpdyReader::control_frame(std::string_view frame, SpdySink& sink) {
  const uint32_t head = get32(frame, 0);
  if ((head >> 16 & 0x7fff) != 3) return broken("version is not 3");
  const bool fin = frame[4] & spdy_flag_fin;
  const auto body = frame.substr(8);
  const auto need = [&](size_t size) { return body.size() >= size; };
  switch (SpdyType(head & 0xffff)) {
    case SpdyType::syn_stream: {
      if (!need(10)) return broken("SYN_STREAM is too short");
      DURE_TRY(auto headers, decompress(body.substr(10)));
      sink.on_syn_stream(get32(body, 0) & id_mask, fin, std::move(headers));
      return {};
    }
    case SpdyType::syn_reply:
    case SpdyType::headers: {
      if (!need(4)) return broken("SYN_REPLY or HEADERS is too short");
      DURE_TRY(auto headers, decompress(body.substr(4)));
      const uint32_t id = get32(body, 0) & id_mask;
      if (SpdyType(head & 0xffff) == SpdyType::syn_reply)
        sink.on_syn_reply(id, fin, std::move(headers));
      else
        sink.on_headers(id, fin, std::move(headers));
      return {};
    }
    case SpdyType::rst_stream:
      if (!need(8)) return broken("RST_STREAM is too short");
      sink.on_reset(get32(body, 0) & id_mask, get32(body, 4));
      return {};
    case SpdyType::ping:
      if (!need(4)) return broken("PING is too short");
      sink.on_ping(get32(body, 0));
      return {};
    case SpdyType::goaway:
      if (!need(4)) return broken("GOAWAY is too short");
      sink.on_goaway(get32(body, 0) & id_mask);
      return {};
    default:
      return {};  // SETTINGS and WINDOW_UPDATE ask for nothing here; unknown frames are to be
                  // ignored
  }
}

struct SpdyWriter::Deflate {
  z_stream stream = {};
  Deflate() {
    // Small windows: header blocks are short, and each connection pays for this.
    DURE_ASSERT(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 11, 1,
                             Z_DEFAULT_STRATEGY) == Z_OK);
    DURE_ASSERT(deflateSetDictionary(&stream, raw(dictionary()), uInt(dictionary().size())) ==
                Z_OK);
  }
  ~Deflate() { deflateEnd(&stream); }
};
SpdyWriter::SpdyWriter() = default;
SpdyWriter::~SpdyWriter() = default;

std::string SpdyWriter::compress(const Headers& headers) {
  // Repeated names become one entry whose values are parted by NUL.
  std::vector<std::pair<std::string_view, std::string>> merged;
  for (const auto& [name, value] : headers.items) {
    auto at = merged.begin();
    while (at != merged.end() && at->first != name) ++at;
    if (at == merged.end())
      merged.emplace_back(name, value);
    else
      at->second.append(1, '\0').append(value);
  }
  std::string block;
  put32(block, uint32_t(merged.size()));
  for (const auto& [name, value] : merged) {
    put32(block, uint32_t(name.size()));
    block += name;
    put32(block, uint32_t(value.size()));
    block += value;
  }
  if (!deflate_) deflate_ = std::make_unique<Deflate>();
  z_stream& stream = deflate_->stream;
  stream.next_in = const_cast<Bytef*>(raw(block));
  stream.avail_in = uInt(block.size());
  std::string out;
  char buffer[4096];
  do {
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof buffer;
    deflate(&stream, Z_SYNC_FLUSH);
    out.append(buffer, sizeof buffer - stream.avail_out);
  } while (stream.avail_out == 0);
  return out;
}

std::string SpdyWriter::syn_stream(uint32_t id, const Headers& headers, bool fin) {
  const std::string block = compress(headers);
  std::string out = control_head(SpdyType::syn_stream, fin ? spdy_flag_fin : 0, 10 + block.size());
  put32(out, id);
  put32(out, 0);  // associated with no other stream
  out.append(2, '\0');
  return out += block;
}
std::string SpdyWriter::syn_reply(uint32_t id, const Headers& headers, bool fin) {
  const std::string block = compress(headers);
  std::string out = control_head(SpdyType::syn_reply, fin ? spdy_flag_fin : 0, 4 + block.size());
  put32(out, id);
  return out += block;
}
std::string SpdyWriter::headers(uint32_t id, const Headers& headers, bool fin) {
  const std::string block = compress(headers);
  std::string out = control_head(SpdyType::headers, fin ? spdy_flag_fin : 0, 4 + block.size());
  put32(out, id);
  return out += block;
}
std::string SpdyWriter::data_head(uint32_t id, size_t size, bool fin) {
  std::string out;
  put32(out, id & id_mask);
  out += char(fin ? spdy_flag_fin : 0);
  put24(out, uint32_t(size));
  return out;
}
std::string SpdyWriter::rst_stream(uint32_t id, SpdyStatus status) {
  std::string out = control_head(SpdyType::rst_stream, 0, 8);
  put32(out, id);
  put32(out, uint32_t(status));
  return out;
}
std::string SpdyWriter::ping(uint32_t id) {
  std::string out = control_head(SpdyType::ping, 0, 4);
  put32(out, id);
  return out;
}
std::string SpdyWriter::goaway(uint32_t last_id) {
  std::string out = control_head(SpdyType::goaway, 0, 8);
  put32(out, last_id);
  put32(out, 0);
  return out;
}

}  // namespace dure::wire
