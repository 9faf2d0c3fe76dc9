// Arbitrary bytes as queries and as upstream's replies: no reader may fall, and whatever is answered can be read again.
#include <cstdlib>

#include "dns/answerer.h"

namespace {

dure::dns::Zone& zone() {
  static dure::dns::Zone zone{dure::dns::ZoneOptions{.addresses = {dure::Ip::v4(0x0a60000a)}}};
  static bool filled = [] {
    dure::dns::ServiceRecords web, db, alias;
    web.cluster_ips = {dure::Ip::v4(0x0a600050)};
    web.ports = {{"http", "tcp", 80}};
    db.headless = true;
    db.endpoints = {{"db-0", dure::Ip::v4(0x0af40105), {{"http", "tcp", 80}}}};
    alias.external_name = "example.com";
    zone.put("d", "w", std::make_shared<const dure::dns::ServiceRecords>(web));
    zone.put("d", "h", std::make_shared<const dure::dns::ServiceRecords>(db));
    zone.put("d", "a", std::make_shared<const dure::dns::ServiceRecords>(alias));
    return true;
  }();
  (void)filled;
  return zone;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dure::dns;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Answerer answerer(zone());
  for (bool tcp : {false, true}) {
    Reaction reaction = answerer.react(bytes, tcp, 1);
    if (reaction.kind == Reaction::Kind::answer && !tcp && reaction.bytes.size() > udp_bytes_max) std::abort();
    if (reaction.kind == Reaction::Kind::forward) (void)answerer.finish(bytes, tcp, reaction, bytes);
  }
  // The same bytes as a reply to an ExternalName's question.
  std::string asked = *write_query(1, "a.d.svc.cluster.local", type_a);
  Reaction reaction = answerer.react(asked, false, 0);
  std::string answer = answerer.finish(asked, false, reaction, bytes.empty() ? std::string_view("x") : bytes);
  if (answer.size() > udp_bytes_max || !read_reply(answer)) std::abort();
  (void)read_reply(bytes);
  return 0;
}
