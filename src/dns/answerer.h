// Answerer: a query's bytes in, an answer's bytes out, or word that upstream has to be asked. No I/O. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dns/message.h"
#include "dns/zone.h"

namespace dure::dns {

struct Reaction {
  enum class Kind : uint8_t { drop, answer, forward };
  Kind kind = Kind::drop;
  std::string bytes;  // answer: to the client; forward: the query for upstream
  // Forward only: what is to be put in front of upstream's answer (an ExternalName's CNAME), and what is left to be
  // asked.
  std::vector<Record> aliases;
  std::string target;
};

class Answerer {
 public:
  explicit Answerer(const Zone& zone) : zone_(zone) {}
  // `turn` varies the order of addresses. Over TCP there is no limit but the format's.
  Reaction react(std::string_view query, bool over_tcp, uint32_t turn) const;
  // The client's answer from upstream's reply to what `react` wanted forwarded; empty `reply`: nobody answered.
  std::string finish(std::string_view query, bool over_tcp, const Reaction& asked, std::string_view reply) const;

 private:
  const Zone& zone_;
};

}  // namespace dure::dns
