// DialRace: asks one question by all ways to a server, each with a head start before the next (DialTurns), and hands
// over those that answer as they do: for who needs the server before there is a tunnel. What answers first is the way
// to take; who finds it to be the wrong server asks for the next, which was on its way all the time.
//
// Thread: one, not the loop's, which outlives it. Ways that are still under way end with it.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "run/loop.h"
#include "wire/dial_plan.h"
#include "wire/http.h"

namespace dure::wire {

class DialRace {
 public:
  struct Answer {
    Way way;
    std::unique_ptr<HttpClient> http;  // with the connection that answered
    Response response;                 // whatever its status
  };
  // `patience` with each way, from its own beginning. An answer over 1 MB is a failure.
  static std::unique_ptr<DialRace> start(run::Loop& loop, TlsClientConfig tls, Request question, Duration patience);
  virtual ~DialRace() = default;
  // Ways that it has already are left out.
  virtual void add(const std::vector<Way>& ways) = 0;
  // Blocks for the next answer; nothing: each way has answered or failed.
  virtual std::optional<Answer> next() = 0;
  // Why the others did not answer, in the order of the ways.
  virtual std::vector<std::pair<Way, Error>> failures() const = 0;
};

}  // namespace dure::wire
