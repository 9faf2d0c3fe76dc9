#include "host/network_watch.h"

#include <map>
#include <mutex>

#include "base/log.h"
#include "run/gate.h"

namespace dure::host {
namespace {

Result<NetworkPicture> read_picture(kernel::Links& links) {
  NetworkPicture out;
  DURE_TRY(out.links, links.list());
  DURE_TRY(out.addresses, links.addresses());
  DURE_TRY(out.routes, links.routes());
  if (const auto way = kernel::find_uplink(links, Ip::v4(0x01010101)))
    out.way_out = way->link.name + " " + way->address.text();
  return out;
}

// Outlives the watch for as long as there are subscriptions.
struct Lookers {
  std::mutex mutex;  // held while looks run
  NetworkPicture now;
  std::map<int, NetworkWatch::Look> looks;
  int last = 0;
};

class Subscribed final : public NetworkWatch::Subscription {
 public:
  Subscribed(std::shared_ptr<Lookers> lookers, int id) : lookers_(std::move(lookers)), id_(id) {}
  ~Subscribed() override {
    const std::lock_guard lock(lookers_->mutex);
    lookers_->looks.erase(id_);
  }

 private:
  const std::shared_ptr<Lookers> lookers_;
  const int id_;
};

class LinksWatch final : public NetworkWatch {
 public:
  LinksWatch(std::unique_ptr<kernel::Links> links, run::Executor& executor)
      : links_(std::move(links)), gate_(executor) {}
  ~LinksWatch() override {
    events_.reset();
    gate_.close();
  }

  Status begin() {
    DURE_TRY(lookers_->now, read_picture(*links_));
    DURE_TRY(events_, links_->watch([this](kernel::LinkEvent) { look_soon(); }));
    return {};
  }

  std::unique_ptr<Subscription> subscribe(Look look) override {
    const std::lock_guard lock(lookers_->mutex);
    look(lookers_->now);
    lookers_->looks[++lookers_->last] = std::move(look);
    return std::make_unique<Subscribed>(lookers_, lookers_->last);
  }

 private:
  void look_soon() {
    const std::lock_guard lock(timer_mutex_);
    if (timer_) return;
    timer_ = gate_.after(settle_time, [this] { look(); });
  }

  void look() {
    {
      const std::lock_guard lock(timer_mutex_);
      timer_.reset();
    }
    const std::lock_guard lock(lookers_->mutex);
    auto now = read_picture(*links_);
    if (!now) return log(LogLevel::warn, "host", "cannot read the links", {{"why", now.error().message}});
    lookers_->now = std::move(*now);
    for (const auto& [id, look] : lookers_->looks) look(lookers_->now);
  }

  const std::unique_ptr<kernel::Links> links_;
  run::Gate gate_;
  const std::shared_ptr<Lookers> lookers_ = std::make_shared<Lookers>();
  std::mutex timer_mutex_;
  std::unique_ptr<run::Timer> timer_;
  std::unique_ptr<kernel::LinkWatch> events_;
};

}  // namespace

Result<std::unique_ptr<NetworkWatch>> NetworkWatch::start(std::unique_ptr<kernel::Links> links,
                                                          run::Executor& executor) {
  auto watch = std::make_unique<LinksWatch>(std::move(links), executor);
  DURE_CHECK(watch->begin());
  return watch;
}

}  // namespace dure::host
