#include "wire/http1_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "base/text.h"

namespace dure::wire {
namespace {

constexpr size_t trailer_bytes_max = 16 << 10, chunk_line_bytes_max = 4096;

constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (const char c : std::string_view(
           "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    table[static_cast<unsigned char>(c)] = true;
  return table;
}
constexpr auto token_table = make_token_table();

bool is_token(std::string_view text) {
  if (text.empty()) return false;
  for (const unsigned char c : text)
    if (!token_table[c]) return false;
  return true;
}
std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}
std::unexpected<Error> malformed(std::string_view why) { return fail(bad_request(why)); }

// Cuts one line that ends in CRLF; a bare CR or LF inside is an error of the caller's checks.
std::string_view cut_line(std::string_view& rest) {
  const size_t end = rest.find("\r\n");
  const auto line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

Status parse_header_line(std::string_view line, Headers& headers) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return malformed("header line without a colon");
  const auto name = line.substr(0, colon);
  if (!is_token(name)) return malformed("header name is not a token");
  const auto value = trim_blanks(line.substr(colon + 1));
  if (!valid_header_value(value)) return malformed("header value holds a control character");
  auto& item = headers.items.emplace_back(name, value);
  for (char& c : item.first)
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  return {};
}
Status parse_header_lines(std::string_view rest, Headers& headers) {
  headers.items.reserve(12);
  while (rest.size() > 2) {
    DURE_CHECK(parse_header_line(cut_line(rest), headers));
  }
  return {};
}

Status parse_version(std::string_view text, int& minor) {
  if (text == "HTTP/1.1")
    minor = 1;
  else if (text == "HTTP/1.0")
    minor = 0;
  else
    return fail(Error{.code = text.starts_with("HTTP/") ? 505 : 400,
                      .reason = "BadRequest",
                      .message = "HTTP version is not 1.0 or 1.1"});
  return {};
}

bool valid_target(std::string_view target) {
  if (target.empty()) return false;
  for (const unsigned char c : target)
    if (c <= 0x20 || c == 0x7f) return false;
  return true;
}

// The one content-length, however often it is repeated with the same value.
Result<std::optional<uint64_t>> content_length(const Headers& headers) {
  std::optional<uint64_t> length;
  for (const auto& [name, value] : headers.items) {
    if (name != "content-length") continue;
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{} || end != value.data() + value.size() || value.empty() ||
        value[0] == '-' || value[0] == '+')
      return malformed("Content-Length is not a number");
    if (length && *length != number) return malformed("two different Content-Lengths");
    length = number;
  }
  return length;
}

// Chunked must be the only coding, and must not stand beside a Content-Length: that is how requests
// are smuggled.
Result<Http1Framing> coded_or_sized(const Http1Head& head) {
  DURE_TRY(const auto length, content_length(head.headers));
  bool coded = false;
  for (const auto& [name, value] : head.headers.items) {
    if (name != "transfer-encoding") continue;
    if (coded || !equal_ignore_case(value, "chunked"))
      return fail(Error{.code = 501,
                        .reason = "NotImplemented",
                        .message = "transfer coding other than chunked"});
    coded = true;
  }
  if (coded && (length || head.minor_version == 0))
    return malformed("Transfer-Encoding beside Content-Length or in HTTP/1.0");
  if (coded) return Http1Framing{Http1Framing::Kind::chunked, 0};
  if (length)
    return Http1Framing{*length ? Http1Framing::Kind::length : Http1Framing::Kind::none, *length};
  return Http1Framing{Http1Framing::Kind::until_close, 0};
}

}  // namespace

bool valid_header_value(std::string_view value) {
  for (const unsigned char c : value)
    if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
  return true;
}
bool valid_request_line(std::string_view method, std::string_view target) {
  const auto ends_it = [](unsigned char c) { return c <= 0x20 || c == 0x7f; };
  return is_token(method) && !target.empty() && std::none_of(target.begin(), target.end(), ends_it);
}
bool valid_header_name(std::string_view name) { return is_token(name); }

size_t http1_head_size(std::string_view bytes) {
  const void* found = memmem(bytes.data(), bytes.size(), "\r\n\r\n", 4);
  return found ? size_t(static_cast<const char*>(found) - bytes.data()) + 4
               : std::string_view::npos;
}

Status parse_http1_request(std::string_view head, Http1Head& out) {
  std::string_view rest = head;
  const auto line = cut_line(rest);
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return malformed("request line does not have three parts");
  const auto method = line.substr(0, first), target = line.substr(first + 1, last - first - 1);
  if (!is_token(method)) return malformed("method is not a token");
  if (!valid_target(target))
    return malformed("request target holds a blank or a control character");
  DURE_CHECK(parse_version(line.substr(last + 1), out.minor_version));
  out.method = method;
  out.target = target;
  DURE_CHECK(parse_header_lines(rest, out.headers));
  const size_t hosts = out.headers.all("host").size();
  if (hosts > 1 || (hosts == 0 && out.minor_version == 1))
    return malformed("request needs exactly one Host");
  return {};
}

Status parse_http1_response(std::string_view head, Http1Head& out) {
  std::string_view rest = head;
  const auto line = cut_line(rest);
  if (line.size() < 12 || line[8] != ' ' || (line.size() > 12 && line[12] != ' '))
    return malformed("status line is malformed");
  DURE_CHECK(parse_version(line.substr(0, 8), out.minor_version));
  const auto status = parse_int(line.substr(9, 3));
  if (!status || *status < 100 || *status > 599) return malformed("status code is not one");
  out.status = int(*status);
  return parse_header_lines(rest, out.headers);
}

bool header_has_token(const Headers& headers, std::string_view name,
                      std::string_view lower_case_token) {
  for (const auto& [item_name, value] : headers.items) {
    if (item_name != name) continue;
    std::string_view rest = value;
    for (;;) {
      const size_t comma = rest.find(',');
      if (equal_ignore_case(trim_blanks(rest.substr(0, comma)), lower_case_token)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

bool http1_keep_alive(const Http1Head& head) {
  if (header_has_token(head.headers, "connection", "close")) return false;
  return head.minor_version == 1 || header_has_token(head.headers, "connection", "keep-alive");
}

Result<Http1Framing> request_framing(const Http1Head& head) {
  DURE_TRY(auto framing, coded_or_sized(head));
  if (framing.kind == Http1Framing::Kind::until_close) framing.kind = Http1Framing::Kind::none;
  return framing;
}

Result<Http1Framing> response_framing(const Http1Head& head, std::string_view request_method) {
  if (request_method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304)
    return Http1Framing{};
  return coded_or_sized(head);
}

Http1BodyReader::Http1BodyReader(Http1Framing framing) : framing_(framing) {
  switch (framing.kind) {
    case Http1Framing::Kind::none:
      state_ = State::done;
      break;
    case Http1Framing::Kind::length:
      left_ = framing.length;
      state_ = left_ ? State::content : State::done;
      break;
    case Http1Framing::Kind::until_close:
      left_ = UINT64_MAX;
      state_ = State::content;
      break;
    case Http1Framing::Kind::chunked:
      state_ = State::chunk_size;
      break;
  }
}

Status Http1BodyReader::read(std::string_view& input, std::string_view& piece) {
  piece = {};
  while (!input.empty() && state_ != State::done) {
    if (state_ == State::content || state_ == State::chunk_content) {
      piece = input.substr(0, size_t(std::min<uint64_t>(left_, input.size())));
      input.remove_prefix(piece.size());
      if (framing_.kind != Http1Framing::Kind::until_close) left_ -= piece.size();
      if (left_ == 0) state_ = state_ == State::content ? State::done : State::chunk_end;
      return {};
    }
    bool complete = false;
    DURE_CHECK(read_line(input, complete));
    if (!complete) return {};
    if (state_ == State::chunk_size) {
      DURE_CHECK(start_chunk());
    } else if (state_ == State::chunk_end) {
      if (!line_.empty()) return malformed("chunk is longer than its size");
      state_ = State::chunk_size;
    } else if (line_.empty()) {
      state_ = State::done;
    } else {
      DURE_CHECK(take_trailer());
    }
    line_.clear();
  }
  return {};
}

// Gathers a line over several inputs; `line_` holds it without its CRLF when complete.
Status Http1BodyReader::read_line(std::string_view& input, bool& complete) {
  const size_t newline = input.find('\n');
  const size_t count = newline == std::string_view::npos ? input.size() : newline + 1;
  if (line_.size() + count > chunk_line_bytes_max)
    return malformed("chunk or trailer line is too long");
  line_.append(input.substr(0, count));
  input.remove_prefix(count);
  if (newline == std::string_view::npos) return {};
  if (line_.size() < 2 || line_[line_.size() - 2] != '\r')
    return malformed("line does not end in CRLF");
  line_.resize(line_.size() - 2);
  complete = true;
  return {};
}

Status Http1BodyReader::start_chunk() {
  std::string_view size = line_;
  size = size.substr(0, size.find(';'));  // extensions mean nothing to us
  size = trim_blanks(size);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), number, 16);
  if (size.empty() || size.size() > 15 || error != std::errc{} ||
      end != size.data() + size.size() || size[0] == '-')
    return malformed("chunk size is not a number");
  if (!valid_header_value(line_)) return malformed("chunk extension holds a control character");
  left_ = number;
  state_ = number ? State::chunk_content : State::trailer;
  return {};
}

Status Http1BodyReader::take_trailer() {
  trailer_bytes_ += line_.size();
  if (trailer_bytes_ > trailer_bytes_max) return malformed("trailers are too large");
  return parse_header_line(line_, trailers_);
}

void write_http1_request_head(std::string& out, std::string_view method, std::string_view target,
                              const Headers& headers) {
  out.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
  for (const auto& [name, value] : headers.items)
    out.append(name).append(": ").append(value).append("\r\n");
  out.append("\r\n");
}

void write_http1_response_head(std::string& out, int status, const Headers& headers,
                               std::string_view framing_header) {
  char number[8];
  const auto end = std::to_chars(number, number + sizeof number, status).ptr;
  out.append("HTTP/1.1 ")
      .append(number, end)
      .append(" ")
      .append(reason_phrase(status))
      .append("\r\n");
  for (const auto& [name, value] : headers.items)
    out.append(name).append(": ").append(value).append("\r\n");
  out.append(framing_header).append("\r\n");
}

void write_chunk_head(std::string& out, size_t size) {
  char number[20];
  const auto end = std::to_chars(number, number + sizeof number, size, 16).ptr;
  out.append(number, end).append("\r\n");
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

}  // namespace dure::wire
