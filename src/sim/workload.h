// Workload: the users of a world: they make, scale, roll and delete things, insist on what they want, and forgive every
// error on the way.
//
// `wanted` is what should be there in the end. Owner: the World. Thread: one.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "client/client.h"
#include "sim/dice.h"
#include "sim/journal.h"

namespace dure::sim {

struct Wanted {
  const client::Resource* resource = nullptr;
  client::Key key;
  std::string body;  // JSON without apiVersion and kind
};

class Workload {
 public:
  Workload(client::Client& client, Dice& dice, Journal& journal) : client_(client), dice_(dice), journal_(journal) {}

  void begin();      // the namespaces
  void act();        // one thing a user does
  void interfere();  // a small thing, in the middle of somebody else's work
  // Makes, changes and deletes what differs from `wanted`; true: nothing differed.
  bool insist();
  void end_everything();  // from now on nothing is wanted

  bool wants(const client::Resource& resource, const client::Key& key) const {
    return wanted_.contains(id_of(resource, key));
  }
  const auto& wanted() const { return wanted_; }

 private:
  using Id = std::tuple<std::string, std::string, std::string>;  // plural, namespace, name
  static Id id_of(const client::Resource& resource, const client::Key& key) {
    return {std::string(resource.plural), key.namespace_, key.name};
  }
  void want(const client::Resource& resource, client::Key key, std::string body);
  void unwant(const Wanted& wanted, client::Propagation propagation);
  bool apply(const Wanted& wanted);
  bool remove_others(const client::Resource& resource);
  void put_deployment();
  void put_daemon_set();
  void put_job();
  void put_service();
  void put_config_map();
  void put_solo_pod();
  void change_deployment();
  void remove_something();
  void remove_pod();
  void remove_namespace();
  std::string some_namespace();
  std::vector<Wanted*> all_of(const client::Resource& resource);
  schema::Document document(const client::Resource& resource, const std::string& json) const;
  void say(std::string_view what, const Status& done);

  client::Client& client_;
  Dice& dice_;
  Journal& journal_;
  std::map<Id, Wanted> wanted_;
  int numbers_ = 0;
};

}  // namespace dure::sim
