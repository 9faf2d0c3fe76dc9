// How Auth follows the cluster: one Feed per resource; when the history has passed one by, it reads
// all anew. For Auth's sources.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "apiserver/auth/auth.h"
#include "run/gate.h"

namespace dure::apiserver {

class Auth::Feed : public Watcher {
 public:
  Feed(Auth& auth, Api& api, run::Executor& executor, const Served& served, const Followed& row)
      : auth_(auth), api_(api), executor_(executor), later_(executor), served_(served), row_(row) {}
  ~Feed() override { later_.close(); }

  Status start();

  bool deliver(EventType type, WatchItem& item) override;
  bool bookmark(store::Revision, bool) override { return true; }
  void ended(Error why) override;

 private:
  void change(std::string_view key, const schema::Object& object);
  bool matters(EventType type, const WatchItem& item) const;
  Status load(const store::Page& page);

  Auth& auth_;
  Api& api_;
  run::Executor& executor_;
  run::Gate later_;
  const Served& served_;
  const Followed& row_;
  std::set<std::string, std::less<>> known_;  // keys
  std::unique_ptr<run::Timer> again_;
  std::unique_ptr<Subscription> subscription_;
};

}  // namespace dure::apiserver
