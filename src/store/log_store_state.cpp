#include "store/log_store_state.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"

namespace dure::store {
namespace {

constexpr size_t write_overhead = 48;  // flags, varints and the like, at most

size_t size_of(const Transaction& transaction) {
  size_t bytes = 0;
  for (const Write& write : transaction.writes) {
    bytes += write.key.size() + (write.value ? write.value->size() : 0) + write_overhead;
  }
  return bytes;
}

size_t size_of(const Record& record) { return record.key().size() + record.value().size() + write_overhead; }

bool durable(const Transaction& transaction) {
  return std::any_of(transaction.writes.begin(), transaction.writes.end(),
                     [](const Write& write) { return write.durability == Durability::durable; });
}

Error too_large(size_t bytes, size_t most) {
  return {413, "RequestEntityTooLarge",
          fmt::format("a transaction of {} bytes is larger than the store takes ({})", bytes, most)};
}

}  // namespace

size_t PendingWrites::bytes_of(std::span<const Change> changes) {
  size_t bytes = 0;
  for (const Change& change : changes) bytes += size_of(*change.now);
  return bytes;
}

void PendingWrites::add(std::span<const Change> changes) {
  for (const Change& change : changes) {
    if (auto at = newest_.find(change.now->key()); at != newest_.end()) {
      bytes_ -= size_of(*at->second);
      newest_.erase(at);
    }
    bytes_ += size_of(*change.now);
    newest_.emplace(change.now->key(), change.now);
  }
}

void PendingWrites::add_to(FrameBuilder& frame) const {
  for (const auto& [key, record] : newest_) frame.add(*record);
}

void PendingWrites::clear() {
  newest_.clear();
  bytes_ = 0;
}

LogStore::State::State(LogOptions log_options, LogPlace log_place, Ledger::Start start, Found found)
    : options(log_options),
      place(std::move(log_place)),
      ledger(options.history, std::move(start)),
      reserved_(found.last.reserved),
      clean_(found.last.kind == FrameKind::clean),
      usual_sync_(2 * log_options.lane_sync),  // slow until it has shown itself
      checkpoint_bytes_(found.checkpoint_bytes) {}

// ---- the queue

// A drain on a lane; where the lane ends before its turn has come, the store's own thread takes over.
class LogStore::State::LaneTurn {
 public:
  LaneTurn(std::weak_ptr<State> state, run::Executor* lane) : state_(std::move(state)), lane_(lane) {}
  LaneTurn(LaneTurn&&) = default;
  ~LaneTurn() {
    if (auto state = state_.lock()) state->post_drain(nullptr);
  }
  void operator()() {
    if (auto state = std::exchange(state_, {}).lock()) state->drain(lane_);
  }

 private:
  std::weak_ptr<State> state_;  // empty once it was moved from or has run
  run::Executor* lane_;
};

void LogStore::State::post_drain(run::Executor* lane) {
  if (lane && fast_) return lane->post(LaneTurn(weak_from_this(), lane));
  commits->post([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->drain(nullptr);
  });
}

void LogStore::State::submit(Transaction transaction, Committed done) {
  const size_t bytes = size_of(transaction);
  run::Executor* const lane = transaction.lane;
  {
    std::lock_guard lock(mutex_);
    if (queue_bytes_ + bytes <= options.queue_bytes_max || queue_.empty()) {
      queue_bytes_ += bytes;
      queue_.push_back({std::move(transaction), std::move(done), bytes});
      if (!std::exchange(drain_posted_, true)) post_drain(lane);
      return;
    }
  }
  Error error = unavailable("too many writes wait for the disk");
  error.retry_after_seconds = 1;
  done(fail(std::move(error)));
}

std::vector<LogStore::State::Request> LogStore::State::take() {
  std::vector<Request> taken;
  std::lock_guard lock(mutex_);
  // A frame must fit into a segment: an eighth of it for pending writes, a half for the largest transaction.
  for (size_t bytes = 0; !queue_.empty() && bytes < options.segment_bytes / 4;) {
    bytes += queue_.front().bytes;
    queue_bytes_ -= queue_.front().bytes;
    taken.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return taken;
}

void LogStore::State::drain(run::Executor* lane) {
  in_turn([this] { carry_out(take()); });
  std::lock_guard lock(mutex_);
  drain_posted_ = !queue_.empty();
  if (drain_posted_) post_drain(lane);
}

// ---- one batch

void LogStore::State::carry_out(std::vector<Request> requests) {
  Ledger::Batch batch(ledger);
  std::vector<Outcome> outcomes;
  outcomes.reserve(requests.size());
  bool any_durable = false;
  const auto broken = health();
  for (const Request& request : requests) {
    Result<size_t> added = 0;
    if (!broken) {
      added = fail(broken.error());
    } else if (request.bytes > options.segment_bytes / 2) {
      added = fail(too_large(request.bytes, options.segment_bytes / 2));
    } else {
      added = batch.add(request.transaction);
    }
    any_durable |= added && *added > 0 && durable(request.transaction);
    outcomes.push_back(
        {added ? Result<Revision>(batch.revision()) : fail(std::move(added).error()), batch.changes().size()});
  }
  if (batch.changes().empty()) return deliver(requests, outcomes, {});
  if (auto kept = keep(batch, any_durable); !kept) {
    for (Outcome& outcome : outcomes) outcome.result = fail(kept.error());
    return deliver(requests, outcomes, {});
  }
  ledger.publish(batch);
  maintain();
  deliver(requests, outcomes, batch.changes());
}

void LogStore::State::deliver(std::vector<Request>& requests, std::vector<Outcome>& outcomes,
                              std::span<const Change> changes) {
  size_t from = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!changes.empty() && outcomes[i].changes_end > from) {
      ledger.dispatch(changes.subspan(from, outcomes[i].changes_end - from));
      from = outcomes[i].changes_end;
      transactions.add();
    }
    requests[i].done(std::move(outcomes[i].result));
  }
}

// Makes the batch as durable as it has to be before anybody is told.
Status LogStore::State::keep(const Ledger::Batch& batch, bool durable) {
  const bool little = pending_.bytes() + PendingWrites::bytes_of(batch.changes()) < options.segment_bytes / 8;
  if (!durable && batch.revision() <= reserved_ && little) {
    pending_.add(batch.changes());
    arm_lazy_flush();
    return {};
  }
  frame_.clear();
  pending_.add_to(frame_);
  for (const Change& change : batch.changes()) frame_.add(*change.now);
  DURE_CHECK(write_frame(FrameKind::batch, batch.revision()));
  pending_.clear();
  return {};
}

Status LogStore::State::write_frame(FrameKind kind, Revision revision) {
  const size_t bytes = frame_.bytes_on_disk();
  if (auto room = log_->make_room(bytes); !room) {
    if (!room.error().is("DiskFull")) return fail_for_good(std::move(room).error());
    Error error{507, "StoreFull", fmt::format("no room for the log in {}: {}", place.folder, room.error().message)};
    error.remedy =
        fmt::format("Free some space on the disk that holds {}; the store then goes on by itself.", place.folder);
    error.retry_after_seconds = 5;
    return fail(std::move(error));
  }
  const Revision reserved =
      kind == FrameKind::clean ? revision : std::max(reserved_, revision + options.revisions_reserved);
  const Monotonic start = commits->now();
  if (auto written = log_->append(frame_, {.revision = revision, .reserved = reserved, .kind = kind}); !written) {
    return fail_for_good(std::move(written).error());
  }
  learn_sync(commits->now() - start);
  reserved_ = reserved;
  clean_ = kind == FrameKind::clean;
  log_bytes_since_checkpoint_ += bytes;
  log_bytes.add(static_cast<int64_t>(bytes));
  syncs.add();
  return {};
}

void LogStore::State::learn_sync(Duration took) {
  constexpr int weight = 8;  // one slow sync keeps some eight commits off the lanes
  usual_sync_ += (took - usual_sync_) / weight;
  fast_ = usual_sync_ < options.lane_sync;
}

Status LogStore::State::flush() {
  DURE_CHECK(health());
  if (pending_.empty()) return {};
  frame_.clear();
  pending_.add_to(frame_);
  DURE_CHECK(write_frame(FrameKind::batch, ledger.revision()));
  pending_.clear();
  return {};
}

void LogStore::State::arm_lazy_flush() {
  if (lazy_timer_) return;
  lazy_timer_ = commits->after(options.lazy_interval, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->in_turn([&] {
      self->lazy_timer_.reset();
      auto flushed = self->flush();
      if (!flushed && !self->pending_.empty() && self->health()) self->arm_lazy_flush();
    });
  });
}

Status LogStore::State::close() {
  closing = true;
  lazy_timer_.reset();
  for (auto requests = take(); !requests.empty(); requests = take()) carry_out(std::move(requests));
  DURE_CHECK(health());
  if (clean_ && pending_.empty()) return {};
  frame_.clear();
  pending_.add_to(frame_);
  return write_frame(FrameKind::clean, ledger.revision());
}

Status LogStore::State::fail_for_good(Error cause) {
  Error error{500, "StoreFailed", fmt::format("the store in {} takes no more writes: {}", place.folder, cause.message)};
  error.remedy =
      "Check the disk (dmesg, smartctl), then restart the server: it goes on with everything that "
      "was acknowledged.";
  dure::log(LogLevel::error, "store", error.message, {{"remedy", error.remedy}});
  std::lock_guard lock(mutex_);
  failed_ = error;
  return fail(std::move(error));
}

Status LogStore::State::health() const {
  std::lock_guard lock(mutex_);
  if (failed_) return fail(*failed_);
  return {};
}

// ---- slow work

void LogStore::State::maintain() {
  if (closing) return;
  if (log_->ask_next()) {
    background->post([weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self || self->closing) return;
      if (auto prepared = self->log_->prepare_next(); !prepared) {
        dure::log(LogLevel::warn, "store", "the next log file cannot be prepared",
                  {{"error", prepared.error().message}});
      }
    });
  }
  // Not before the log has outgrown the last checkpoint: at most as many bytes again as the log itself.
  if (log_bytes_since_checkpoint_ >= std::max<uint64_t>(options.checkpoint_log_bytes, checkpoint_bytes_))
    request_checkpoint();
}

void LogStore::State::request_checkpoint() {
  if (closing || !health() || checkpointing_.exchange(true)) return;
  log_bytes_since_checkpoint_ = 0;
  auto snapshot = ledger.snapshot();
  // Revisions that volatile writes take later are covered by the log's own frames.
  const CheckpointState state{.sequence = log_->sequence(), .revision = snapshot.revision, .reserved = reserved_};
  background->post(
      [weak = weak_from_this(), state, index = std::move(snapshot.index), segment = log_->segment()]() mutable {
        if (auto self = weak.lock()) self->background_checkpoint(state, index, segment);
      });
}

void LogStore::State::background_checkpoint(const CheckpointState& state, const Index& index, uint64_t segment) {
  auto written = write_checkpoint(place, state, index, closing);
  if (written) {
    log_->drop_before(segment);
    drop_checkpoints_before(place, state.sequence);
    checkpoint_bytes_ = *written;
    checkpoints.add();
  } else if (!written.error().is("Cancelled")) {
    dure::log(LogLevel::warn, "store", "the checkpoint failed; the log is kept", {{"error", written.error().message}});
  }
  checkpointing_ = false;
}

}  // namespace dure::store
