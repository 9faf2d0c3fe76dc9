#include "dns/answerer.h"

#include <algorithm>

namespace dure::dns {

namespace {

constexpr size_t tcp_bytes_max = 65535;

size_t limit_of(const Query& query, bool over_tcp) { return over_tcp ? tcp_bytes_max : query.udp_bytes; }

Reaction answer(const Query& query, bool over_tcp, Answer content) {
  return {.kind = Reaction::Kind::answer, .bytes = write_answer(query, content, limit_of(query, over_tcp))};
}

Reaction refuse(const Query& query, bool over_tcp, Code code) {
  return answer(query, over_tcp, {.code = code, .authoritative = false});
}

// Clients take the first address: each gets another one first. CNAMEs stay in front.
void turn_addresses(std::vector<Record>& records, uint32_t turn) {
  auto first = std::ranges::find_if(records, [](const Record& r) { return r.type != type_cname; });
  auto count = records.end() - first;
  if (count > 1) std::rotate(first, first + turn % count, records.end());
}

}  // namespace

Reaction Answerer::react(std::string_view bytes, bool over_tcp, uint32_t turn) const {
  Query query;
  switch (read_query(bytes, query)) {
    case Verdict::drop:
      return {};
    case Verdict::malformed:
      query.question = {};
      query.edns = false;
      return refuse(query, over_tcp, code_format);
    case Verdict::good:
      break;
  }
  if (query.opcode != 0) return refuse(query, over_tcp, code_not_implemented);
  if (query.edns && query.edns_version != 0) return refuse(query, over_tcp, code_bad_version);
  if (query.class_ != class_internet && query.class_ != type_any) return refuse(query, over_tcp, code_refused);
  Lookup found = zone_.lookup(query.name, query.type);
  switch (found.kind) {
    case Lookup::Kind::outside:
      return {.kind = Reaction::Kind::forward, .bytes = std::string(bytes)};
    case Lookup::Kind::alias: {
      auto next = write_query(query.id, found.target, query.type);
      if (!next) return refuse(query, over_tcp, code_failure);
      return {
          .kind = Reaction::Kind::forward, .bytes = *next, .aliases = std::move(found.records), .target = found.target};
    }
    case Lookup::Kind::no_name:
      return answer(query, over_tcp, {.code = code_no_name, .soa = zone_.soa(found.authority)});
    case Lookup::Kind::found:
      break;
  }
  Answer out;
  bool soa_asked = query.type == type_soa && query.name == zone_.options().domain;
  if (found.records.empty() || soa_asked) out.soa = zone_.soa(found.authority);
  turn_addresses(found.records, turn);
  out.answers = std::move(found.records);
  out.additional = std::move(found.additional);
  return answer(query, over_tcp, std::move(out));
}

std::string Answerer::finish(std::string_view bytes, bool over_tcp, const Reaction& asked,
                             std::string_view reply) const {
  Query query;
  if (read_query(bytes, query) != Verdict::good) return {};
  if (reply.empty()) return refuse(query, over_tcp, code_failure).bytes;
  if (asked.aliases.empty()) {
    if (over_tcp || reply.size() <= limit_of(query, over_tcp)) return with_id(reply, query.id);
    // Too long for this client: it shall ask again over TCP.
    return write_answer(query, {.authoritative = false, .truncated = true}, limit_of(query, over_tcp));
  }
  auto parsed = read_reply(reply);
  if (!parsed) return refuse(query, over_tcp, code_failure).bytes;
  Answer out{.code = static_cast<Code>(parsed->code), .authoritative = false, .answers = asked.aliases};
  for (Record& record : parsed->answers) out.answers.push_back(std::move(record));
  return write_answer(query, out, limit_of(query, over_tcp));
}

}  // namespace dure::dns
