// EventRecorder: tells people what happened, as core/v1 Events.
//
// The same thing happening again (source, object, type, reason, message) raises the count and lastTimestamp of the
// Event that is there; more than ten different messages of one reason about one object within ten minutes become one
// "combined" Event; one object can cause a burst of 25 and after that one every five minutes. These are the limits
// upstream's recorder has.
//
// Owner: one per component. Thread: any. Never blocks: writing happens on the executor, at most `waiting_max` Events
// wait, more are dropped and counted. What cannot be written is dropped: an Event is a hint for people, nothing may
// depend on it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "client/client.h"
#include "run/loop.h"

namespace dure::client {

struct EventAbout {
  std::string api_version, kind, namespace_, name, uid, resource_version, field_path;
  // Of an object with apiVersion, kind and metadata.
  static EventAbout object(const schema::Object& object);
};

class EventRecorder {
 public:
  static constexpr size_t waiting_max = 1000;
  // component: "deployment-controller"; host: the node's name, empty for what runs on the server.
  static std::unique_ptr<EventRecorder> create(Client& client, run::Executor& executor, std::string component,
                                               std::string host = {});
  virtual ~EventRecorder() = default;  // waits for a write that runs; drops what waits
  virtual void normal(const EventAbout& about, std::string_view reason, std::string_view message) = 0;
  virtual void warning(const EventAbout& about, std::string_view reason, std::string_view message) = 0;
};

}  // namespace dure::client
