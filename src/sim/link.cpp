#include "sim/link.h"

#include <fmt/format.h>

#include <deque>

#include "base/text.h"
#include "client/object_meta.h"

namespace dure::sim {

using client::Key;
using client::Resource;

// One watch of one process: what the server tells goes into a queue that is handed on at once or later.
class FaultyWatch : public client::Watch, private client::WatchSink {
 public:
  FaultyWatch(Link& link, const Resource& resource, client::WatchSink& sink, int64_t after)
      : link_(link),
        resource_(resource),
        core_(std::make_shared<Core>(Core{&sink})),
        number_(++link.watch_numbers_),
        seen_(after) {
    link_.watches_.emplace(number_, this);
    lags_ = link_.dice_.one_in(link_.faults_.watch_lag);
  }
  ~FaultyWatch() override {
    link_.watches_.erase(number_);
    core_->sink = nullptr;
  }

  Status begin(const client::ListOptions& options) {
    auto inner = link_.target_->watch(resource_, options, *this);
    if (!inner) return fail(std::move(inner.error()));
    inner_ = std::move(*inner);
    return {};
  }

  // Nothing comes any more; the process notices after a while.
  void freeze(Duration noticed_after, Error why) {
    if (!std::exchange(frozen_, true)) end_timer_ = link_.executor_.after(noticed_after, [this, why] { end(why); });
    inner_.reset();
  }

 private:
  struct Core {
    client::WatchSink* sink;
    std::deque<client::WatchEvent> waiting;
    bool ended = false;
  };

  void on_event(client::WatchEvent event) override {
    const int64_t revision = client::revision_of(event.object);
    if (revision < seen_)
      link_.journal_.violation(fmt::format("{}: a watch of {} went from revision {} back to {}", link_.name_,
                                           resource_.plural, seen_, revision));
    seen_ = std::max(seen_, revision);
    if (frozen_) return;
    core_->waiting.push_back(std::move(event));
    if (!lags_) return flush();
    if (!lag_timer_)
      lag_timer_ =
          link_.executor_.after(link_.dice_.between(Duration::zero(), link_.faults_.lag_max), [this] { flush(); });
  }

  void on_end(Error why) override {
    if (frozen_) return;
    frozen_ = true;
    flush();
    // Not from inside the server's own call.
    end_timer_ = link_.executor_.after(Duration::zero(), [this, why = std::move(why)] { end(why); });
  }

  void flush() {
    const std::unique_ptr<run::Timer> spent = std::move(lag_timer_);
    const std::shared_ptr<Core> core = core_;
    while (core->sink && !core->waiting.empty()) {
      client::WatchEvent event = std::move(core->waiting.front());
      core->waiting.pop_front();
      link_.saw(client::revision_of(event.object), "watch");
      core->sink->on_event(std::move(event));
    }
  }

  void end(const Error& why) {
    const std::unique_ptr<run::Timer> spent = std::move(end_timer_);
    const std::shared_ptr<Core> core = core_;
    inner_.reset();
    if (core->sink && !std::exchange(core->ended, true)) core->sink->on_end(why);
  }

  Link& link_;
  const Resource& resource_;
  const std::shared_ptr<Core> core_;
  const uint64_t number_;
  std::unique_ptr<client::Watch> inner_;
  std::unique_ptr<run::Timer> lag_timer_, end_timer_;
  int64_t seen_ = 0;
  bool frozen_ = false, lags_ = false;
};

class FaultyClient : public client::Client {
 public:
  explicit FaultyClient(Link& link) : link_(link) {}

  Result<schema::Object> get(const Resource& resource, const Key& key) override {
    return ask([&](client::Client& c) { return c.get(resource, key); });
  }
  Result<client::ObjectList> list(const Resource& resource, const client::ListOptions& options) override {
    auto list = ask([&](client::Client& c) { return c.list(resource, options); });
    if (list && options.continue_token.empty() && options.resource_version.empty()) {
      const int64_t revision = parse_int(list->resource_version).value_or(0);
      if (revision < link_.revision_seen_)
        link_.journal_.violation(fmt::format("{}: a list of {} at revision {} after {} was seen", link_.name_,
                                             resource.plural, revision, link_.revision_seen_));
      link_.saw(revision, "list");
    }
    return list;
  }
  Result<schema::Object> create(const Resource& resource, const schema::Document& object,
                                std::string_view ns) override {
    return ask([&](client::Client& c) { return c.create(resource, object, ns); });
  }
  Result<schema::Object> update(const Resource& resource, const schema::Document& object,
                                std::string_view subresource) override {
    return ask([&](client::Client& c) { return c.update(resource, object, subresource); });
  }
  Result<schema::Object> patch(const Resource& resource, const Key& key, client::PatchType type, std::string_view body,
                               std::string_view subresource) override {
    return ask([&](client::Client& c) { return c.patch(resource, key, type, body, subresource); });
  }
  Status remove(const Resource& resource, const Key& key, const client::DeleteOptions& options) override {
    return ask([&](client::Client& c) { return c.remove(resource, key, options); });
  }
  Result<schema::Object> create_subresource(const Resource& resource, const Key& key, std::string_view subresource,
                                            const schema::Document& body) override {
    return ask([&](client::Client& c) { return c.create_subresource(resource, key, subresource, body); });
  }
  Result<std::unique_ptr<client::Watch>> watch(const Resource& resource, const client::ListOptions& options,
                                               client::WatchSink& sink) override {
    DURE_CHECK(link_.before());
    auto watch = std::make_unique<FaultyWatch>(link_, resource, sink, parse_int(options.resource_version).value_or(0));
    DURE_CHECK(watch->begin(options));
    return watch;
  }

 private:
  template <class Call>
  auto ask(Call call) -> decltype(call(std::declval<client::Client&>())) {
    DURE_CHECK(link_.before());
    auto answer = call(*link_.target_);
    DURE_CHECK(link_.after());
    return answer;
  }

  Link& link_;
};

std::unique_ptr<client::Client> Link::client() { return std::make_unique<FaultyClient>(*this); }

Status Link::before() {
  ++calls_;
  if (dead_) return fail(unavailable("this process is dead"));
  if (meanwhile_ && !in_meanwhile_) {
    in_meanwhile_ = true;
    meanwhile_();
    in_meanwhile_ = false;
  }
  if (cut_) return fail(timed_out("dial tcp: i/o timeout"));
  if (!target_ || refused_) return fail(unavailable("dial tcp: connect: connection refused"));
  if (dice_.one_in(faults_.lost_request)) return fail(unavailable("read tcp: connection reset by peer"));
  return {};
}

Status Link::after() {
  if (calls_to_live_ > 0 && --calls_to_live_ == 0) {
    dead_ = true;
    if (auto told = std::exchange(on_death_, nullptr)) told();
  }
  if (dead_) return fail(unavailable("this process is dead"));
  if (!target_ || refused_) return fail(unavailable("unexpected EOF"));  // the server died over this call
  if (dice_.one_in(faults_.lost_answer)) return fail(timed_out("context deadline exceeded"));
  return {};
}

void Link::saw(int64_t revision, std::string_view) { revision_seen_ = std::max(revision_seen_, revision); }

void Link::disconnect() {
  for (const auto& [number, watch] : watches_)
    watch->freeze(dice_.between(Duration::zero(), Duration(3s)), unavailable("unexpected EOF"));
  target_.reset();
}

void Link::cut() {
  cut_ = true;
  for (const auto& [number, watch] : watches_)
    watch->freeze(dice_.between(Duration(1s), Duration(30s)), timed_out("read tcp: i/o timeout"));
}

void Link::break_watches() {
  for (const auto& [number, watch] : watches_)
    watch->freeze(dice_.between(Duration::zero(), Duration(1s)), unavailable("unexpected EOF"));
}

}  // namespace dure::sim
