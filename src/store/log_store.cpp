#include "store/log_store.h"

#include <future>

#include <fmt/format.h>

#include "base/log.h"
#include "base/text.h"
#include "os/clock.h"
#include "store/log_store_state.h"

namespace dure::store {
namespace {

constexpr std::string_view identity_name = "identity", identity_form = "dure store 1 ";

bool holds_data(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (numbered_file(name, "log-") || numbered_file(name, "checkpoint-")) return true;
  }
  return false;
}

// A random number that names this store; the checksums of its files begin with it.
Result<uint64_t> read_identity(os::Disk& disk, const std::string& folder) {
  const std::string path = folder + "/" + std::string(identity_name);
  if (disk.exists(path)) {
    DURE_TRY(const std::string text, os::read_file(disk, path, 4096));
    const std::string_view body = trim(text);
    if (body.starts_with(identity_form)) {
      if (auto number = numbered_file(body.substr(identity_form.size()), "")) return *number;
    }
    Error error{500, "StoreCorrupt", fmt::format("{} is not the identity of a store that this version can read", path)};
    error.remedy = "Restore the folder from a backup, or use the version of dure that wrote it.";
    return fail(std::move(error));
  }
  DURE_TRY(const auto names, disk.list(folder));
  if (holds_data(names)) {
    Error error{500, "StoreCorrupt", fmt::format("{} is missing, and without it the log cannot be read", path)};
    error.remedy = "Restore the folder from a backup.";
    return fail(std::move(error));
  }
  const uint64_t number = os::make_random()->number();
  DURE_CHECK(os::write_file_atomic(disk, path, numbered_name(identity_form, number) + "\n"));
  return number;
}

Result<std::unique_ptr<os::FileLock>> lock_folder(os::Disk& disk, const std::string& folder) {
  auto lock = disk.lock(folder + "/lock");
  if (lock || !lock.error().is("FileLocked")) return lock;
  Error error{500, "FileLocked", fmt::format("another process has the store in {} open", folder)};
  error.remedy = fmt::format("Stop the other server first (`fuser {}/lock` names it).", folder);
  return fail(std::move(error));
}

Status apply_frame(const Frame& frame, Index& index) {
  RecordReader records(frame);
  while (RecordRef record = records.next()) {
    if (record->removed()) {
      index.erase(record->key());
    } else {
      index.put(std::move(record));
    }
  }
  if (!records.complete()) return fail(internal("a record is malformed"));
  return {};
}

}  // namespace

LogStore::LogStore() = default;

Result<std::unique_ptr<LogStore>> LogStore::open(std::string folder, LogOptions options, os::Disk& disk) {
  DURE_ASSERT(options.segment_bytes % block_bytes == 0 && options.segment_bytes >= 16 * block_bytes);
  DURE_CHECK(disk.make_directories(folder));
  DURE_TRY(auto lock, lock_folder(disk, folder));
  DURE_TRY(const uint64_t identity, read_identity(disk, folder));
  LogPlace place{disk, std::move(folder), identity, options.segment_bytes};
  DURE_TRY(LoadedCheckpoint loaded, load_checkpoint(place));
  FrameHeader last{
      .sequence = loaded.state.sequence, .revision = loaded.state.revision, .reserved = loaded.state.reserved};
  auto segments = std::make_unique<SegmentLog>(place);
  DURE_TRY(const auto replayed, segments->replay(loaded.state.sequence,
                                                 [&](const Frame& frame) { return apply_frame(frame, loaded.index); }));
  if (replayed.last.sequence) last = replayed.last;

  // Not a clean stop: volatile writes may have been handed out revisions that nobody can see any more.
  const Revision revision = last.kind == FrameKind::clean ? last.revision : std::max(last.revision, last.reserved);
  Ledger::Start start{std::move(loaded.index), revision, last.sequence ? revision : 0};
  std::unique_ptr<LogStore> store(new LogStore);
  store->lock_ = std::move(lock);
  store->state_ =
      std::make_shared<State>(options, std::move(place), std::move(start), State::Found{last, loaded.bytes});
  store->state_->set_log(std::move(segments));
  if (!options.commit_executor) store->own_commits_ = run::make_pool("store", 1);
  if (!options.background_executor) store->own_background_ = run::make_pool("store-slow", 1);
  store->state_->commits = options.commit_executor ? options.commit_executor : store->own_commits_.get();
  store->state_->background = options.background_executor ? options.background_executor : store->own_background_.get();
  return store;
}

LogStore::~LogStore() {
  if (!state_) return;
  state_->closing = true;  // a checkpoint gives up
  Status closed;
  if (own_commits_) {
    std::promise<Status> answer;
    own_commits_->post([&] { answer.set_value(state_->in_turn([&] { return state_->close(); })); });
    closed = answer.get_future().get();
  } else {
    closed = state_->in_turn([&] { return state_->close(); });
  }
  if (!closed) log(LogLevel::warn, "store", "the store was not closed cleanly", {{"error", closed.error().message}});
}

void LogStore::commit(Transaction transaction, Committed done) {
  state_->submit(std::move(transaction), std::move(done));
}
std::optional<Entry> LogStore::get(std::string_view key) const { return state_->ledger.get(key); }
Result<Page> LogStore::range(const RangeRequest& request) const { return state_->ledger.range(request); }
Result<std::unique_ptr<Watch>> LogStore::watch(std::string prefix, Revision after, WatchSink& sink) {
  return state_->ledger.watch(std::move(prefix), after, sink);
}
Revision LogStore::revision() const { return state_->ledger.revision(); }
Revision LogStore::compacted() const { return state_->ledger.compacted(); }
Status LogStore::compact(Revision revision) { return state_->ledger.compact(revision); }
Status LogStore::health() const { return state_->health(); }

void LogStore::flush(std::move_only_function<void(Status)> done) {
  state_->commits->post([weak = state_->weak_from_this(), done = std::move(done)]() mutable {
    if (auto state = weak.lock()) done(state->in_turn([&] { return state->flush(); }));
  });
}

void LogStore::checkpoint() {
  state_->commits->post([weak = state_->weak_from_this()] {
    if (auto state = weak.lock()) state->in_turn([&] { state->request_checkpoint(); });
  });
}

LogStore::Counters LogStore::counters() const {
  const auto value = [](const Metric& metric) { return static_cast<uint64_t>(metric.value()); };
  return {value(state_->syncs), value(state_->log_bytes), value(state_->checkpoints), value(state_->transactions)};
}

}  // namespace dure::store
