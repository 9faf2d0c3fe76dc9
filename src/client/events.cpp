#include "client/events.h"

#include <algorithm>
#include <deque>
#include <list>
#include <mutex>
#include <set>
#include <unordered_map>

#include "base/metric.h"
#include "base/text.h"
#include "client/object_meta.h"
#include "kinds/views/core_v1.h"
#include "schema/values.h"

namespace dure::client {
namespace {

constexpr size_t remembered_max = 4096;
constexpr size_t distinct_messages_max = 10;
constexpr Duration similar_window = 10min;
constexpr int burst = 25;
constexpr Duration refill = 5min;

// A map that forgets what was used longest ago.
template <class Value>
class Recent {
 public:
  Value& of(const std::string& key) {
    auto at = entries_.find(key);
    if (at != entries_.end()) {
      order_.splice(order_.begin(), order_, at->second);
      return at->second->second;
    }
    if (entries_.size() >= remembered_max) {
      entries_.erase(order_.back().first);
      order_.pop_back();
    }
    order_.emplace_front(key, Value{});
    entries_[key] = order_.begin();
    return order_.front().second;
  }

 private:
  std::list<std::pair<std::string, Value>> order_;
  std::unordered_map<std::string, typename std::list<std::pair<std::string, Value>>::iterator> entries_;
};

struct Happening {
  EventAbout about;
  std::string type, reason, message;
  WallTime when;
};

struct Written {
  Key key;
  int64_t count = 0;
};

struct Similar {
  std::set<std::string> messages;
  Monotonic last{};
};

struct Bucket {
  double tokens = burst;
  Monotonic last{};
};

std::string join_fields(std::initializer_list<std::string_view> fields) {
  std::string text;
  for (std::string_view field : fields) text.append(field).push_back('\0');
  return text;
}

std::string hex(int64_t value) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (uint64_t rest = static_cast<uint64_t>(value); rest != 0; rest >>= 4)
    text.insert(text.begin(), digits[rest & 15]);
  return text.empty() ? "0" : text;
}

// The first characters of a text, whole ones.
std::string_view first_bytes(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

// Names have no '.' or '-' next to a '.'.
std::string name_start(std::string_view name) {
  name = name.substr(0, 200);
  return std::string(name.substr(0, name.find_last_not_of("-.") + 1));
}

class Recorder final : public EventRecorder {
 public:
  Recorder(Client& client, run::Executor& executor, std::string component, std::string host)
      : state_(std::make_shared<State>(client, executor, std::move(component), std::move(host))) {}
  ~Recorder() override {
    {
      std::lock_guard lock(state_->mutex);
      state_->stopped = true;
      state_->waiting.clear();
    }
    std::lock_guard writing(state_->writing);
  }

  void normal(const EventAbout& about, std::string_view reason, std::string_view message) override {
    take(about, "Normal", reason, message);
  }
  void warning(const EventAbout& about, std::string_view reason, std::string_view message) override {
    take(about, "Warning", reason, message);
  }

 private:
  struct State {
    State(Client& client, run::Executor& executor, std::string component, std::string host)
        : client(client), executor(executor), component(std::move(component)), host(std::move(host)) {}
    Client& client;
    run::Executor& executor;
    const std::string component, host;
    std::mutex mutex;
    std::deque<Happening> waiting;
    bool posted = false, stopped = false;
    Metric dropped{Metric::Kind::counter, "dure_events_dropped_total", "component=\"" + component + "\"",
                   "Events that were not written"};
    // Only touched under `writing`.
    std::mutex writing;
    Recent<Written> written;
    Recent<Similar> similar;
    Recent<Bucket> buckets;
    int64_t last_name_time = 0;

    void drain();
    void write(Happening happening);
    bool within_rate(const Happening& happening);
    bool combine_similar(Happening& happening);
    bool raise_count(const Written& written, const Happening& happening);
    Result<Key> write_new(const Happening& happening);
    Result<Key> write_named(const Happening& happening, int64_t name_time);
  };

  void take(const EventAbout& about, std::string_view type, std::string_view reason, std::string_view message) {
    std::lock_guard lock(state_->mutex);
    if (state_->waiting.size() >= waiting_max) {
      state_->dropped.add();
      return;
    }
    state_->waiting.push_back({about, std::string(type), std::string(reason), std::string(first_bytes(message, 1024)),
                               state_->executor.wall_now()});
    if (state_->posted) return;
    state_->posted = true;
    state_->executor.post([state = state_] { state->drain(); });
  }

  std::shared_ptr<State> state_;
};

void Recorder::State::drain() {
  std::lock_guard writing_lock(writing);
  for (;;) {
    Happening happening;
    {
      std::lock_guard lock(mutex);
      if (waiting.empty() || stopped) {
        posted = false;
        return;
      }
      happening = std::move(waiting.front());
      waiting.pop_front();
    }
    write(std::move(happening));
  }
}

void Recorder::State::write(Happening happening) {
  const bool combined = combine_similar(happening);
  if (!within_rate(happening)) {
    dropped.add();
    return;
  }
  const EventAbout& about = happening.about;
  Written& known =
      written.of(join_fields({about.uid, about.namespace_, about.name, about.kind, about.field_path, happening.type,
                              happening.reason, combined ? std::string_view("\n") : happening.message}));
  if (known.count > 0) {
    ++known.count;
    if (raise_count(known, happening)) return;
  }
  auto key = write_new(happening);
  if (!key) dropped.add();
  known = key ? Written{*key, 1} : Written{};
}

bool Recorder::State::within_rate(const Happening& happening) {
  const EventAbout& about = happening.about;
  Bucket& bucket = buckets.of(join_fields({about.uid, about.namespace_, about.name, about.kind}));
  const Monotonic now = executor.now();
  if (bucket.last.nanoseconds != 0) {
    const double gained = double((now - bucket.last).count()) / double(Duration(refill).count());
    bucket.tokens = std::min<double>(burst, bucket.tokens + gained);
  }
  bucket.last = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

// Whether the happening is one too many of its kind and was renamed.
bool Recorder::State::combine_similar(Happening& happening) {
  const EventAbout& about = happening.about;
  Similar& group =
      similar.of(join_fields({about.uid, about.namespace_, about.name, about.kind, happening.type, happening.reason}));
  const Monotonic now = executor.now();
  if (now - group.last > similar_window) group.messages.clear();
  group.last = now;
  if (group.messages.contains(happening.message)) return false;
  if (group.messages.size() < distinct_messages_max) {
    group.messages.insert(happening.message);
    return false;
  }
  happening.message = "(combined from similar events): " + happening.message;
  return true;
}

bool Recorder::State::raise_count(const Written& known, const Happening& happening) {
  std::string body = "{\"count\":" + std::to_string(known.count) + ",\"lastTimestamp\":\"" +
                     format_time(happening.when) + "\",\"message\":";
  schema::append_json_string(body, happening.message);
  body += '}';
  return client.patch(kinds::core_v1::events, known.key, PatchType::merge, body).has_value();
}

// The name carries the time; two at the same time, also of two recorders, take the next free one.
Result<Key> Recorder::State::write_new(const Happening& happening) {
  last_name_time = std::max(happening.when.nanoseconds, last_name_time + 1);
  auto written = write_named(happening, last_name_time);
  for (int attempt = 0; attempt < 5 && !written && written.error().is("AlreadyExists"); ++attempt)
    written = write_named(happening, ++last_name_time);
  return written;
}

Result<Key> Recorder::State::write_named(const Happening& happening, int64_t name_time) {
  const EventAbout& about = happening.about;
  const Key key{about.namespace_.empty() ? "default" : about.namespace_,
                name_start(about.name) + "." + hex(name_time)};
  schema::Document event(*kinds::core_v1::events.type);
  auto set = [&](schema::Node* parent, std::string_view name, std::string_view value) {
    if (!value.empty()) event.set(event.member(parent, name), value);
  };
  schema::Node* root = event.root();
  set(root, "apiVersion", "v1");
  set(root, "kind", "Event");
  schema::Node* metadata = event.member(root, "metadata");
  set(metadata, "name", key.name);
  set(metadata, "namespace", key.namespace_);
  schema::Node* involved = event.member(root, "involvedObject");
  set(involved, "kind", about.kind);
  set(involved, "namespace", about.namespace_);
  set(involved, "name", about.name);
  set(involved, "uid", about.uid);
  set(involved, "apiVersion", about.api_version);
  set(involved, "resourceVersion", about.resource_version);
  set(involved, "fieldPath", about.field_path);
  set(root, "reason", happening.reason);
  set(root, "message", happening.message);
  schema::Node* source = event.member(root, "source");
  set(source, "component", component);
  set(source, "host", host);
  set(root, "firstTimestamp", format_time(happening.when));
  set(root, "lastTimestamp", format_time(happening.when));
  event.set(event.member(root, "count"), 1);
  set(root, "type", happening.type);
  set(root, "reportingComponent", component);
  set(root, "reportingInstance", host);
  auto created = client.create(kinds::core_v1::events, event, key.namespace_);
  if (!created) return fail(std::move(created).error());
  return key;
}

}  // namespace

EventAbout EventAbout::object(const schema::Object& object) {
  auto text = [&](std::string_view field) {
    const schema::Node* node = object->root()->find(field);
    return std::string(node ? node->string() : std::string_view{});
  };
  return {text("apiVersion"),
          text("kind"),
          std::string(namespace_of(object)),
          std::string(name_of(object)),
          std::string(uid_of(object)),
          std::string(resource_version_of(object)),
          {}};
}

std::unique_ptr<EventRecorder> EventRecorder::create(Client& client, run::Executor& executor, std::string component,
                                                     std::string host) {
  return std::make_unique<Recorder>(client, executor, std::move(component), std::move(host));
}

}  // namespace dure::client
