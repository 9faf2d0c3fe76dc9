// Lists over HTTP: small ones at once with their length, large ones in pieces as fast as the client reads.
#include "apiserver/front_state.h"

namespace dure::apiserver {

namespace {

constexpr size_t piece_bytes = 64 << 10;

class ListStream : public std::enable_shared_from_this<ListStream> {
 public:
  ListStream(std::shared_ptr<Front::State> state, ExchangePtr exchange, ListRenderer renderer)
      : state_(std::move(state)), exchange_(std::move(exchange)), renderer_(std::move(renderer)) {}

  void start(std::string first, std::string_view content_type) {
    wire::Headers headers;
    headers.add("cache-control", "no-cache, private");
    headers.add("content-type", content_type);
    exchange_->on_close([self = shared_from_this()] { self->exchange_.reset(); });
    exchange_->on_drained([self = shared_from_this()] { self->pump(); });
    exchange_->start(200, std::move(headers));
    exchange_->write(SharedBytes(std::move(first)));
    pump();
  }

 private:
  void pump() {
    while (exchange_ && exchange_->unsent() < state_->options.unsent_bytes_max) {
      std::string piece;
      piece.reserve(piece_bytes + (8 << 10));
      if (!renderer_.next(piece, piece_bytes)) {
        auto exchange = std::exchange(exchange_, nullptr);
        exchange->finish();
        return;
      }
      exchange_->write(SharedBytes(std::move(piece)));
    }
  }

  const std::shared_ptr<Front::State> state_;
  ExchangePtr exchange_;
  ListRenderer renderer_;
};

}  // namespace

void serve_list(const std::shared_ptr<Front::State>& state, ExchangePtr exchange, ListResult list, Output output) {
  ListRenderer renderer(output, std::move(list), state->api.executor().wall_now());
  std::string first;
  renderer.next(first, piece_bytes);
  if (renderer.entries_left() == 0) {
    std::string rest;
    while (renderer.next(rest, piece_bytes)) {
    }
    first += rest;
    return answer(*exchange, 200, {std::move(first), output.content_type()});
  }
  std::make_shared<ListStream>(state, std::move(exchange), std::move(renderer))
      ->start(std::move(first), output.content_type());
}

}  // namespace dure::apiserver
