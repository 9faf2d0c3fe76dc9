// DNS messages (RFC 1035, EDNS of RFC 6891): reading queries and answers, writing answers. Pure; every reader takes
// arbitrary bytes (dns_fuzz.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace dure::dns {

enum Type : uint16_t {
  type_a = 1,
  type_ns = 2,
  type_cname = 5,
  type_soa = 6,
  type_ptr = 12,
  type_txt = 16,
  type_aaaa = 28,
  type_srv = 33,
  type_opt = 41,
  type_any = 255
};
enum Code : uint8_t {
  code_ok = 0,
  code_format = 1,
  code_failure = 2,
  code_no_name = 3,
  code_not_implemented = 4,
  code_refused = 5,
  code_bad_version = 16
};
inline constexpr uint16_t class_internet = 1;
inline constexpr size_t udp_bytes_plain = 512;
inline constexpr size_t udp_bytes_max = 1232;  // what passes every path without fragments

struct Query {
  uint16_t id = 0;
  uint16_t flags = 0;
  uint8_t opcode = 0;
  bool recursion_desired = false, checking_disabled = false;
  std::string_view question;  // name, type and class as they came: they go back so, with the case of every letter
  std::string name;           // lower case, without the last dot; a dot inside a label is "\."
  uint16_t type = 0, class_ = 0;
  bool edns = false;
  uint8_t edns_version = 0;
  size_t udp_bytes = udp_bytes_plain;  // what the client takes over UDP
};

enum class Verdict : uint8_t {
  good,
  drop,       // no query at all: answering would make a loop
  malformed,  // FORMERR to what was readable
};
// `out` is filled as far as the message could be read.
Verdict read_query(std::string_view bytes, Query& out);

struct Record {
  uint16_t type = 0;
  Ip ip;                                        // A, AAAA
  std::string target;                           // CNAME, PTR, SRV, NS: a name in text; TXT: the text
  uint16_t priority = 0, weight = 0, port = 0;  // SRV
  std::string owner = {};                       // empty: the question's name
  uint32_t ttl = 0;
};

struct Soa {
  std::string owner, primary, mailbox;
  uint32_t serial = 1, minimum = 5;
};

struct Answer {
  Code code = code_ok;
  bool authoritative = true;
  bool truncated = false;  // there is more than could be put in
  std::vector<Record> answers, additional;
  std::optional<Soa> soa;  // in the authority section
};

// Appends nothing beyond `bytes_max`: what does not fit is left out and the truncation bit set (additional records are
// left out without it).
std::string write_answer(const Query& query, const Answer& answer, size_t bytes_max);

// An answer of another server: its code and the records of the answer section we can carry on (A, AAAA, CNAME).
struct Reply {
  uint16_t id = 0;
  bool is_answer = false, truncated = false;
  uint8_t code = 0;
  std::string name;  // of the question, lower case
  uint16_t type = 0;
  std::vector<Record> answers;
};
std::optional<Reply> read_reply(std::string_view bytes);

// Of an answer of which only the first bytes came: its question, with the truncation bit, so that whoever asked asks
// over TCP. Empty when it is none.
std::string truncated_reply(std::string_view first_bytes);

// A recursive query for one name with a payload size of udp_bytes_max; nothing when the name cannot be written.
std::optional<std::string> write_query(uint16_t id, std::string_view name, uint16_t type);
// The same message with another number.
std::string with_id(std::string_view message, uint16_t id);

}  // namespace dure::dns
