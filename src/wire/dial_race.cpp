#include "wire/dial_race.h"

#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>

namespace dure::wire {
namespace {

constexpr size_t answer_bytes_max = 1 << 20;

// One way that is being tried; loop thread.
struct Try {
  Way way;
  std::unique_ptr<HttpClient> http;
  Response response;
  std::unique_ptr<run::Timer> call, patience;
};

class Racing final : public std::enable_shared_from_this<Racing> {
 public:
  Racing(run::Loop& loop, TlsClientConfig tls, Request question, Duration patience)
      : loop_(loop), tls_(std::move(tls)), question_(std::move(question)), patience_(patience) {}

  void add(std::vector<Way> ways) {
    {
      const std::lock_guard lock(mutex_);
      ++adding_;
    }
    loop_.post([self = shared_from_this(), ways = std::move(ways)] {
      {
        const std::lock_guard lock(self->mutex_);
        self->turns_.add(ways);
        --self->adding_;
      }
      self->timer_ ? self->look() : self->go_on();
    });
  }

  std::optional<DialRace::Answer> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !answers_.empty() || (over_ && adding_ == 0); });
    if (answers_.empty()) return std::nullopt;
    DialRace::Answer out = std::move(answers_.front());
    answers_.pop_front();
    return out;
  }

  std::vector<std::pair<Way, Error>> failures() const {
    const std::lock_guard lock(mutex_);
    return turns_.failures();
  }

  // Waits for it: afterwards the loop may end.
  void stop() {
    auto promise = std::make_shared<std::promise<void>>();
    const auto done = promise->get_future();
    loop_.post([self = shared_from_this(), promise] {
      self->stopped_ = true;
      self->timer_.reset();
      self->tries_.clear();
      self->answers_.clear();
      promise->set_value();
    });
    done.wait_for(std::chrono::seconds(5));  // a loop that was stopped first never answers
  }

 private:
  // The next turn, unless all had theirs.
  void go_on() {
    timer_.reset();
    while (const auto turn = next_turn()) {
      if (!turn->way || !begin(*turn->way)) continue;
      timer_ = loop_.after(turn->wait, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->go_on();
      });
      break;
    }
    look();
  }
  std::optional<DialTurns::Turn> next_turn() {
    const std::lock_guard lock(mutex_);
    if (stopped_ || turns_.all_had_theirs()) return std::nullopt;
    return turns_.next(loop_.now());
  }

  bool begin(const Way& way) {
    auto http = HttpClient::create(loop_, way.url, tls_, way.proxy);
    if (!http) {
      note(way, http.error());
      return false;
    }
    const uint64_t id = ++last_try_;
    Try& attempt = tries_[id];
    attempt.way = way;
    attempt.http = std::move(*http);
    attempt.patience = loop_.after(patience_, [weak = weak_from_this(), id] {
      if (const auto self = weak.lock()) self->over(id, fail(self->no_answer()));
    });
    attempt.call = attempt.http->stream(question_, callbacks(id));
    return true;
  }

  HttpClient::Streaming callbacks(uint64_t id) {
    HttpClient::Streaming out;
    out.on_start = [weak = weak_from_this(), id](int status, const Headers& headers) {
      if (Try* attempt = find(weak, id)) attempt->response = Response{.status = status, .headers = headers, .body = {}};
    };
    out.on_data = [weak = weak_from_this(), id](std::string_view bytes) {
      if (Try* attempt = find(weak, id); attempt && attempt->response.body.size() <= answer_bytes_max)
        attempt->response.body += bytes;
    };
    out.on_end = [weak = weak_from_this(), id](Result<void> result) {
      if (const auto self = weak.lock()) self->over(id, std::move(result));
    };
    return out;
  }
  static Try* find(const std::weak_ptr<Racing>& weak, uint64_t id) {
    const auto self = weak.lock();
    const auto found = self ? self->tries_.find(id) : decltype(tries_)::iterator();
    return self && found != self->tries_.end() ? &found->second : nullptr;
  }

  void over(uint64_t id, Result<void> result) {
    const auto found = tries_.find(id);
    if (found == tries_.end()) return;
    const auto attempt = std::make_shared<Try>(std::move(found->second));
    tries_.erase(found);
    loop_.post([attempt] {});  // it is not destroyed inside its own call
    if (result && attempt->response.body.size() > answer_bytes_max)
      result = fail(Error{502, "ResponseTooLarge", "the answer to " + question_.target + " is too large", {}});
    if (!result) {
      note(attempt->way, std::move(result).error());
      return go_on();
    }
    {
      const std::lock_guard lock(mutex_);
      answers_.push_back({attempt->way, std::move(attempt->http), std::move(attempt->response)});
    }
    look();  // the others keep their time: this one may be all that is needed
  }

  Error no_answer() const { return timed_out("no answer within " + format_duration(patience_)); }
  void note(const Way& way, Error why) {
    const std::lock_guard lock(mutex_);
    turns_.failed(way, std::move(why));
  }
  void look() {
    const std::lock_guard lock(mutex_);
    over_ = tries_.empty() && turns_.all_had_theirs();
    changed_.notify_all();
  }

  run::Loop& loop_;
  const TlsClientConfig tls_;
  const Request question_;
  const Duration patience_;
  // The loop's:
  std::map<uint64_t, Try> tries_;
  std::unique_ptr<run::Timer> timer_;
  uint64_t last_try_ = 0;
  bool stopped_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  DialTurns turns_;
  std::deque<DialRace::Answer> answers_;
  int adding_ = 0;
  bool over_ = false;
};

class RaceHandle final : public DialRace {
 public:
  explicit RaceHandle(std::shared_ptr<Racing> racing) : racing_(std::move(racing)) {}
  ~RaceHandle() override { racing_->stop(); }
  void add(const std::vector<Way>& ways) override { racing_->add(ways); }
  std::optional<Answer> next() override { return racing_->next(); }
  std::vector<std::pair<Way, Error>> failures() const override { return racing_->failures(); }

 private:
  std::shared_ptr<Racing> racing_;
};

}  // namespace

std::unique_ptr<DialRace> DialRace::start(run::Loop& loop, TlsClientConfig tls, Request question, Duration patience) {
  return std::make_unique<RaceHandle>(std::make_shared<Racing>(loop, std::move(tls), std::move(question), patience));
}

}  // namespace dure::wire
