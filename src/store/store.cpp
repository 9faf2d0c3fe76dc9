#include "store/store.h"

#include <future>

namespace dure::store {

Result<Revision> commit_and_wait(Store& store, Transaction transaction) {
  std::promise<Result<Revision>> promise;
  auto answer = promise.get_future();
  store.commit(std::move(transaction), [&promise](Result<Revision> result) { promise.set_value(std::move(result)); });
  return answer.get();
}

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

}  // namespace dure::store
