// Expiry: objects of kinds with a time to live (Events) are removed when it is over.
//
// Owner: the Api; sweeps on its executor every few minutes, looking at stored JSON only. Thread: the executor's.
#pragma once

#include <memory>

#include "apiserver/catalog.h"
#include "base/time.h"
#include "run/loop.h"
#include "store/store.h"

namespace dure::apiserver {

class Expiry : public std::enable_shared_from_this<Expiry> {
 public:
  static constexpr Duration interval = 5min;

  // `store` and `catalog` outlive it; sweeps stop when it is destroyed.
  Expiry(store::Store& store, const Catalog& catalog, run::Executor& executor)
      : store_(store), catalog_(catalog), executor_(executor) {}
  void start();
  size_t sweep();  // how many objects were found too old

 private:
  size_t sweep(const Served& served, WallTime now);

  store::Store& store_;
  const Catalog& catalog_;
  run::Executor& executor_;
  std::unique_ptr<run::Timer> timer_;
};

}  // namespace dure::apiserver
