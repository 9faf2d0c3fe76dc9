// WriteWorld for one attempt of one write: answers hooks from the store and collects what they want written along.
#pragma once

#include <string>
#include <vector>

#include "apiserver/api_state.h"
#include "kinds/hooks/write.h"

namespace dure::apiserver {

class ApiWriteWorld : public kinds::WriteWorld {
 public:
  ApiWriteWorld(Api::State& state, const User* user);

  WallTime now() const override { return now_; }
  uint64_t random() override { return state_.random(); }
  const kinds::WriteSettings& settings() const override { return state_.options.settings; }
  const kinds::Writer& writer() const override { return writer_; }
  schema::Object get(std::string_view group, std::string_view resource, std::string_view ns,
                     std::string_view name) const override;
  std::vector<schema::Object> list(std::string_view group, std::string_view resource,
                                   std::string_view ns) const override;
  bool claimed(std::string_view claim) const override;
  void claim(std::string claim, std::string owner) override;
  void release(std::string claim) override;
  void also_update(std::string_view group, std::string_view resource, const schema::Document& seen,
                   const schema::Document& changed) override;

  // Moves what was collected into the transaction.
  void add_to(store::Transaction& transaction);

 private:
  Api::State& state_;
  const WallTime now_;
  kinds::Writer writer_;
  std::vector<store::Write> writes_;
};

}  // namespace dure::apiserver
