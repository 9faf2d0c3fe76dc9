// HTTP/1.1 messages as bytes (RFC 9112), strict: what two readers could understand differently is refused. No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "wire/http.h"

namespace dure::wire {

struct Http1Head {
  std::string method, target;  // requests
  int status = 0;              // responses
  int minor_version = 1;
  Headers headers;
};

// The size of the head at the start of `bytes`, with its empty line; npos when it is not complete yet.
size_t http1_head_size(std::string_view bytes);
// `head` is exactly one head. The error's code is the HTTP status to answer: 400, 505.
Status parse_http1_request(std::string_view head, Http1Head& out);
Status parse_http1_response(std::string_view head, Http1Head& out);

// True when a list header ("connection") names `token`, whatever its case.
bool header_has_token(const Headers& headers, std::string_view name, std::string_view lower_case_token);
// Whether the connection stays open after this message, by its version and Connection header.
bool http1_keep_alive(const Http1Head& head);

// How the body of a message is delimited.
struct Http1Framing {
  enum class Kind { none, length, chunked, until_close };
  Kind kind = Kind::none;
  uint64_t length = 0;
};
Result<Http1Framing> request_framing(const Http1Head& head);
Result<Http1Framing> response_framing(const Http1Head& head, std::string_view request_method);

// Takes a body apart as its bytes arrive.
class Http1BodyReader {
 public:
  explicit Http1BodyReader(Http1Framing framing = {});
  // Consumes from the front of `input` what belongs to the body and answers the next piece of content in `piece` (a
  // view of the input). Call until input is empty or done(); error: 400.
  Status read(std::string_view& input, std::string_view& piece);
  bool done() const { return state_ == State::done; }
  // The connection ended: fine only for a body that lasts until then.
  bool ends_with_connection() const { return framing_.kind == Http1Framing::Kind::until_close; }
  // Trailer lines after the last chunk.
  const Headers& trailers() const { return trailers_; }

 private:
  enum class State { content, chunk_size, chunk_content, chunk_end, trailer, done };
  Status read_line(std::string_view& input, bool& complete);
  Status start_chunk();
  Status take_trailer();

  Http1Framing framing_;
  State state_;
  uint64_t left_ = 0;
  std::string line_;  // an unfinished line
  size_t trailer_bytes_ = 0;
  Headers trailers_;
};

// Writing.
void write_http1_request_head(std::string& out, std::string_view method, std::string_view target,
                              const Headers& headers);
// Ends with the empty line; `framing_header`: "content-length: 12\r\n" and the like, or empty.
void write_http1_response_head(std::string& out, int status, const Headers& headers, std::string_view framing_header);
void write_chunk_head(std::string& out, size_t size);
std::string_view reason_phrase(int status);
bool valid_request_line(std::string_view method, std::string_view target);
// No CR, LF or NUL: a value with these would be another header on the wire.
bool valid_header_value(std::string_view value);
bool valid_header_name(std::string_view name);

}  // namespace dure::wire
