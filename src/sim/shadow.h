// Shadow: a mirror of one collection that is kept by nothing but list and watch, and judges every change it is told.
//
// An event that does not fit the mirror (ADDED of what is there, MODIFIED or DELETED of what is not) means that one was
// lost or repeated. Owner: the Audit. Thread: one.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "client/client.h"
#include "run/virtual_executor.h"
#include "sim/journal.h"

namespace dure::sim {

class Shadow : private client::WatchSink {
 public:
  Shadow(const client::Resource& resource, client::Client& client, run::VirtualExecutor& executor, Journal& journal)
      : resource_(resource), client_(client), executor_(executor), journal_(journal) {}

  void start() { step_after(Duration::zero()); }
  const std::map<client::Key, schema::Object>& objects() const { return objects_; }
  const client::Resource& resource() const { return resource_; }
  bool watching() const { return watch_ != nullptr && !must_list_; }
  // What differs from a list made now; empty: nothing.
  std::string difference(client::Client& direct) const;

 private:
  void on_event(client::WatchEvent event) override;
  void on_end(Error why) override;
  void step_after(Duration delay);
  void step();
  Status list();
  void judge(const schema::Object& before, const schema::Object& after);
  void judge_pod(const schema::Object& before, const schema::Object& after);
  std::string about(const schema::Object& object) const;

  const client::Resource& resource_;
  client::Client& client_;
  run::VirtualExecutor& executor_;
  Journal& journal_;
  std::map<client::Key, schema::Object> objects_;
  std::string resource_version_;
  bool must_list_ = true;
  std::unique_ptr<client::Watch> watch_;
  std::unique_ptr<run::Timer> timer_;
};

}  // namespace dure::sim
