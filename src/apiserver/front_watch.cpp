// Watches over HTTP: one line (or frame) per event, in the bytes that all watchers of the event share.
#include "apiserver/front_state.h"

namespace dure::apiserver {

namespace {

class HttpWatch : public Watcher, public std::enable_shared_from_this<HttpWatch> {
 public:
  HttpWatch(std::shared_ptr<Front::State> state, ExchangePtr exchange, const Served& served, Output output)
      : state_(std::move(state)), exchange_(std::move(exchange)), served_(served), output_(output) {}

  void start(const ApiRequest& request) {
    // The stream must not end between subscribing and answering: both happen on its loop, and events come later.
    auto subscription = state_->api.watch(request, exchange_->loop(), *this);
    if (!subscription) {
      auto exchange = std::exchange(exchange_, nullptr);
      if (subscription.error().code == 410) return refuse_in_stream(*exchange, subscription.error());
      return answer_error(*exchange, output_, subscription.error());
    }
    subscription_ = std::move(*subscription);
    state_->watches.add(1);
    counted_ = true;
    self_ = shared_from_this();
    exchange_->on_close([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->stop();
    });
    exchange_->on_drained([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->drained();
    });
    exchange_->start(200, headers());
    timer_ = exchange_->loop().after(lifetime(request), [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->finish();
    });
  }

  ~HttpWatch() override {
    if (counted_) state_->watches.add(-1);
  }

  bool deliver(EventType type, WatchItem& item) override {
    const auto self = shared_from_this();  // a write may find the client gone, which ends us
    if (!exchange_) return false;
    const auto bytes = render_event(output_, served_, type, item, state_->api.executor().wall_now());
    return write(SharedBytes(bytes, *bytes));
  }

  bool bookmark(store::Revision revision, bool initial_end) override {
    const auto self = shared_from_this();
    return exchange_ && write(SharedBytes(render_bookmark(output_, served_, revision, initial_end)));
  }

  void ended(Error why) override {
    const auto self = shared_from_this();
    if (!exchange_) return;
    exchange_->write(SharedBytes(render_watch_error(output_, why)));
    finish();
  }

 private:
  wire::Headers headers() const {
    wire::Headers headers;
    headers.add("cache-control", "no-cache, private");
    headers.add("content-type", output_.content_type(true));
    return headers;
  }

  // Clients expect "too old" as an event of a stream that began well.
  void refuse_in_stream(wire::Exchange& exchange, const Error& why) {
    exchange.start(200, headers());
    exchange.write(SharedBytes(render_watch_error(output_, why)));
    exchange.finish();
  }

  Duration lifetime(const ApiRequest& request) {
    constexpr int64_t longest = 1 << 30;  // seconds; more than a Duration holds would end the watch at once
    if (request.list.timeout_seconds && *request.list.timeout_seconds > 0)
      return std::chrono::seconds(std::min(*request.list.timeout_seconds, longest));
    const Duration least = state_->options.watch_timeout_min;
    return least + Duration(static_cast<int64_t>(state_->api.random() % static_cast<uint64_t>(least.count())));
  }

  bool write(SharedBytes bytes) {
    const ExchangePtr exchange = exchange_;
    exchange->write(std::move(bytes));
    const bool room = exchange->unsent() < state_->options.unsent_bytes_max;
    waiting_ = !room;
    return room;
  }

  void drained() {
    if (!std::exchange(waiting_, false) || !subscription_) return;
    subscription_->resume();
  }

  void finish() {
    if (auto exchange = exchange_) exchange->finish();
    stop();
  }

  void stop() {
    auto self = std::move(self_);  // the caller may hold nothing else
    timer_.reset();
    subscription_.reset();
    exchange_.reset();
  }

  const std::shared_ptr<Front::State> state_;
  ExchangePtr exchange_;
  const Served& served_;
  const Output output_;
  std::unique_ptr<Subscription> subscription_;
  std::unique_ptr<run::Timer> timer_;
  std::shared_ptr<HttpWatch> self_;  // until the stream is over
  bool counted_ = false, waiting_ = false;
};

}  // namespace

void serve_watch(const std::shared_ptr<Front::State>& state, ExchangePtr exchange, ApiRequest request, Output output) {
  const Served* served = state->api.catalog().find(*request.resource);
  if (!served) return answer_error(*exchange, output, no_such_resource());
  if (output.format == Output::Format::yaml) output.format = Output::Format::json;  // a stream has no YAML form
  output.pretty = false;
  std::make_shared<HttpWatch>(state, std::move(exchange), *served, output)->start(request);
}

}  // namespace dure::apiserver
