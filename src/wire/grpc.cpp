#include "wire/grpc.h"

#include <array>

#include "base/text.h"

namespace dure::wire {
namespace {

struct Code {
  std::string_view name;
  int http;
};
constexpr std::array<Code, 17> codes = {{{"OK", 200},
                                         {"Canceled", 499},
                                         {"Unknown", 500},
                                         {"InvalidArgument", 400},
                                         {"DeadlineExceeded", 504},
                                         {"NotFound", 404},
                                         {"AlreadyExists", 409},
                                         {"PermissionDenied", 403},
                                         {"ResourceExhausted", 429},
                                         {"FailedPrecondition", 400},
                                         {"Aborted", 409},
                                         {"OutOfRange", 400},
                                         {"Unimplemented", 501},
                                         {"Internal", 500},
                                         {"Unavailable", 503},
                                         {"DataLoss", 500},
                                         {"Unauthenticated", 401}}};
constexpr int unknown = 2, deadline_exceeded = 4, unimplemented = 12, internal_code = 13,
              unavailable_code = 14;

Error grpc_error(int code, std::string message) {
  if (code < 0 || code >= int(codes.size())) code = unknown;
  return Error{.code = codes[size_t(code)].http,
               .reason = std::string(codes[size_t(code)].name),
               .message = std::move(message)};
}
Error transport_error(Error error) {
  const int code = error.is("Timeout")            ? deadline_exceeded
                   : error.is("ResponseTooLarge") ? 8
                                                  : unavailable_code;
  return grpc_error(code, std::move(error.message));
}
// A proxy or a server that does not speak gRPC answers with an HTTP status only.
Error http_error(int status) {
  int code = unknown;
  switch (status) {
    case 400:
      code = internal_code;
      break;
    case 401:
      code = 16;
      break;
    case 403:
      code = 7;
      break;
    case 404:
      code = unimplemented;
      break;
    case 429:
    case 502:
    case 503:
    case 504:
      code = unavailable_code;
      break;
    default:
      break;
  }
  return grpc_error(code, "HTTP status " + std::to_string(status));
}

// The outcome that trailers (or the headers of a body-less answer) tell; empty when they say
// nothing.
std::optional<Status> outcome_of(const Headers& headers) {
  const auto text = headers.get("grpc-status");
  if (text.empty()) return std::nullopt;
  const auto code = parse_int(text);
  if (code && *code == 0) return Status{};
  return Status(
      fail(grpc_error(code ? int(*code) : unknown, percent_decode(headers.get("grpc-message")))));
}

Request make_request(std::string_view method, std::string_view message, Duration timeout) {
  Request request{.method = "POST", .target = std::string(method), .body = grpc_frame(message)};
  request.headers.add("content-type", "application/grpc");
  request.headers.add("te", "trailers");
  request.headers.add("user-agent", "grpc-dure");
  if (timeout > Duration::zero()) {
    const auto milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count() + 1;
    // At most eight digits are allowed.
    request.headers.add(
        "grpc-timeout",
        milliseconds < 100'000'000
            ? std::to_string(milliseconds) + "m"
            : std::to_string(std::min<int64_t>(milliseconds / 1000, 99'999'999)) + "S");
  }
  return request;
}

}  // namespace

Headers grpc_trailers(int code, std::string_view message) {
  Headers trailers;
  trailers.add("grpc-status", std::to_string(code));
  if (!message.empty()) trailers.add("grpc-message", percent_encode(message));
  return trailers;
}

std::string grpc_frame(std::string_view message) {
  const size_t size = message.size();
  std::string out;
  out.reserve(5 + size);
  out += '\0';
  for (const int shift : {24, 16, 8, 0}) out += char(size >> shift & 0xff);
  return out.append(message);
}

Result<std::optional<std::string_view>> GrpcReader::next() {
  if (used_ > 0 && (used_ == bytes_.size() || used_ > (64 << 10))) {
    bytes_.erase(0, used_);
    used_ = 0;
  }
  const auto rest = std::string_view(bytes_).substr(used_);
  if (rest.size() < 5) return std::nullopt;
  size_t size = 0;
  for (int i = 1; i < 5; ++i) size = size << 8 | static_cast<unsigned char>(rest[size_t(i)]);
  if (rest[0] != 0)
    return fail(grpc_error(internal_code, "compressed message, which nobody asked for"));
  if (size > message_bytes_max_)
    return fail(grpc_error(8, "message of " + std::to_string(size) + " bytes is too large"));
  if (rest.size() < 5 + size) return std::nullopt;
  used_ += 5 + size;
  return rest.substr(5, size);
}

std::unique_ptr<run::Timer> GrpcClient::stream(std::string_view method, std::string_view request,
                                               Streaming callbacks, Duration timeout,
                                               const Headers& headers) const {
  struct State {
    Streaming callbacks;
    GrpcReader reader;
    std::optional<Status> outcome;
    int http_status = 0;
    bool ended = false;
    void end(Status status) {
      if (!std::exchange(ended, true) && callbacks.on_end) callbacks.on_end(std::move(status));
    }
  };
  auto state = std::make_shared<State>(
      State{std::move(callbacks), GrpcReader(message_bytes_max_), {}, 0, false});
  HttpClient::Streaming streaming;
  streaming.on_start = [state](int status, const Headers& headers) {
    state->http_status = status;
    state->outcome = outcome_of(headers);
  };
  streaming.on_data = [state](std::string_view bytes) {
    if (state->ended) return;
    state->reader.feed(bytes);
    for (;;) {
      auto message = state->reader.next();
      if (!message) return state->end(fail(std::move(message).error()));
      if (!*message) return;
      if (state->callbacks.on_message) state->callbacks.on_message(**message);
    }
  };
  streaming.on_trailers = [state](const Headers& trailers) {
    if (auto outcome = outcome_of(trailers)) state->outcome = std::move(outcome);
  };
  streaming.on_end = [state](Result<void> result) {
    if (!result) return state->end(fail(transport_error(std::move(result).error())));
    if (state->outcome) return state->end(std::move(*state->outcome));
    state->end(fail(state->http_status != 200
                        ? http_error(state->http_status)
                        : grpc_error(internal_code, "stream ended without grpc-status")));
  };
  Request sent = make_request(method, request, timeout);
  for (const auto& [name, value] : headers.items) sent.headers.add(name, value);
  return http_.stream(std::move(sent), std::move(streaming));
}

}  // namespace dure::wire
