#include "dns/message.h"

#include <algorithm>
#include <cstring>

namespace dure::dns {

namespace {

constexpr size_t header_bytes = 12;
constexpr size_t name_bytes_max = 255;
constexpr size_t label_bytes_max = 63;
constexpr int pointer_hops_max = 32;
constexpr uint16_t flag_answer = 0x8000, flag_authoritative = 0x0400, flag_truncated = 0x0200,
                   flag_recursion_desired = 0x0100, flag_recursion_available = 0x0080, flag_checking_disabled = 0x0010;
constexpr uint16_t question_pointer = 0xc000 | header_bytes;

uint16_t get16(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(bytes[at]) << 8 | static_cast<uint8_t>(bytes[at + 1]));
}

void put16(std::string& out, uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}

void put32(std::string& out, uint32_t value) {
  put16(out, static_cast<uint16_t>(value >> 16));
  put16(out, static_cast<uint16_t>(value));
}

char lower_letter(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Reads a name at `at`, following pointers backwards; answers the position behind it, or 0 when it is broken.
size_t read_name(std::string_view bytes, size_t at, std::string& out) {
  out.clear();
  size_t behind = 0, total = 0;
  int hops = 0;
  while (true) {
    if (at >= bytes.size()) return 0;
    auto size = static_cast<uint8_t>(bytes[at]);
    if ((size & 0xc0) == 0xc0) {
      if (at + 2 > bytes.size() || ++hops > pointer_hops_max) return 0;
      size_t to = get16(bytes, at) & 0x3fff;
      if (!behind) behind = at + 2;
      if (to >= at) return 0;  // only backwards, so it ends
      at = to;
      continue;
    }
    if (size & 0xc0) return 0;
    if (size == 0) return behind ? behind : at + 1;
    total += size + 1u;
    if (at + 1 + size > bytes.size() || total + 1 > name_bytes_max) return 0;
    if (!out.empty()) out += '.';
    for (char c : bytes.substr(at + 1, size)) {
      if (c == '.' || c == '\\') out += '\\';
      out += lower_letter(c);
    }
    at += 1 + size;
  }
}

// Writes a name without compression; false when a label is too long.
bool write_name(std::string& out, std::string_view name) {
  size_t begin = out.size();
  std::string label;
  auto close_label = [&] {
    if (label.empty() || label.size() > label_bytes_max) return false;
    out += static_cast<char>(label.size());
    out += label;
    label.clear();
    return true;
  };
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '\\' && i + 1 < name.size()) {
      label += name[++i];
    } else if (name[i] != '.') {
      label += name[i];
    } else if (!close_label()) {
      return false;
    }
  }
  if (!label.empty() && !close_label()) return false;
  out += '\0';
  return out.size() - begin <= name_bytes_max;
}

// Behind the data of an OPT record's header, or 0.
struct RawRecord {
  std::string owner;
  uint16_t type = 0, class_ = 0;
  uint32_t ttl = 0;
  size_t data = 0, data_size = 0;
};

size_t read_record(std::string_view bytes, size_t at, RawRecord& out) {
  at = read_name(bytes, at, out.owner);
  if (!at || at + 10 > bytes.size()) return 0;
  out.type = get16(bytes, at);
  out.class_ = get16(bytes, at + 2);
  out.ttl = uint32_t{get16(bytes, at + 4)} << 16 | get16(bytes, at + 6);
  out.data_size = get16(bytes, at + 8);
  out.data = at + 10;
  return out.data + out.data_size <= bytes.size() ? out.data + out.data_size : 0;
}

void read_opt(const RawRecord& record, Query& out) {
  out.edns = true;
  out.edns_version = static_cast<uint8_t>(record.ttl >> 16);
  out.udp_bytes = std::clamp<size_t>(record.class_, udp_bytes_plain, udp_bytes_max);
}

}  // namespace

Verdict read_query(std::string_view bytes, Query& out) {
  if (bytes.size() < header_bytes) return Verdict::drop;
  out.id = get16(bytes, 0);
  out.flags = get16(bytes, 2);
  if (out.flags & flag_answer) return Verdict::drop;
  out.opcode = static_cast<uint8_t>(out.flags >> 11 & 15);
  out.recursion_desired = out.flags & flag_recursion_desired;
  out.checking_disabled = out.flags & flag_checking_disabled;
  if (get16(bytes, 4) != 1) return Verdict::malformed;
  size_t at = read_name(bytes, header_bytes, out.name);
  if (!at || at + 4 > bytes.size()) return Verdict::malformed;
  out.type = get16(bytes, at);
  out.class_ = get16(bytes, at + 2);
  at += 4;
  out.question = bytes.substr(header_bytes, at - header_bytes);
  size_t records = size_t{get16(bytes, 6)} + get16(bytes, 8) + get16(bytes, 10);
  for (size_t i = 0; i < records; ++i) {
    RawRecord record;
    at = read_record(bytes, at, record);
    if (!at) return Verdict::malformed;
    if (record.type != type_opt) continue;
    if (out.edns || !record.owner.empty()) return Verdict::malformed;
    read_opt(record, out);
  }
  return Verdict::good;
}

namespace {

void write_record_head(std::string& out, const std::string& owner, uint16_t type, uint32_t ttl) {
  if (owner.empty())
    put16(out, question_pointer);
  else
    write_name(out, owner);
  put16(out, type);
  put16(out, class_internet);
  put32(out, ttl);
}

// The data with its length in front; false when a name in it cannot be written.
bool write_data(std::string& out, const Record& record) {
  size_t at = out.size();
  put16(out, 0);
  bool good = true;
  switch (record.type) {
    case type_a:
    case type_aaaa:
      out += record.ip.raw();
      break;
    case type_srv:
      put16(out, record.priority);
      put16(out, record.weight);
      put16(out, record.port);
      good = write_name(out, record.target);
      break;
    case type_txt:
      out += static_cast<char>(std::min<size_t>(record.target.size(), 255));
      out += std::string_view(record.target).substr(0, 255);
      break;
    default:
      good = write_name(out, record.target);
  }
  size_t size = out.size() - at - 2;
  out[at] = static_cast<char>(size >> 8);
  out[at + 1] = static_cast<char>(size);
  return good;
}

bool write_record(std::string& out, const Record& record, size_t bytes_max) {
  size_t before = out.size();
  write_record_head(out, record.owner, record.type, record.ttl);
  if (write_data(out, record) && out.size() <= bytes_max) return true;
  out.resize(before);
  return false;
}

bool write_soa(std::string& out, const Soa& soa, size_t bytes_max) {
  size_t before = out.size();
  write_record_head(out, soa.owner, type_soa, soa.minimum);
  size_t at = out.size();
  put16(out, 0);
  write_name(out, soa.primary);
  write_name(out, soa.mailbox);
  put32(out, soa.serial);
  for (uint32_t seconds : {7200u, 1800u, 86400u, soa.minimum}) put32(out, seconds);  // refresh, retry, expire
  size_t size = out.size() - at - 2;
  out[at] = static_cast<char>(size >> 8);
  out[at + 1] = static_cast<char>(size);
  if (out.size() <= bytes_max) return true;
  out.resize(before);
  return false;
}

void set16(std::string& out, size_t at, uint16_t value) {
  out[at] = static_cast<char>(value >> 8);
  out[at + 1] = static_cast<char>(value);
}

void write_opt(std::string& out, Code code) {
  out += '\0';
  put16(out, type_opt);
  put16(out, udp_bytes_max);
  put32(out, uint32_t{static_cast<uint8_t>(code)} >> 4 << 24);  // the upper bits of the code, version 0
  put16(out, 0);
}

constexpr size_t opt_bytes = 11;

}  // namespace

std::string write_answer(const Query& query, const Answer& answer, size_t bytes_max) {
  std::string out;
  out.reserve(std::min<size_t>(bytes_max, 512));
  size_t room = bytes_max - (query.edns ? opt_bytes : 0);
  uint16_t flags =
      static_cast<uint16_t>(flag_answer | query.opcode << 11 | flag_recursion_available | (answer.code & 15));
  if (answer.authoritative) flags |= flag_authoritative;
  if (answer.truncated) flags |= flag_truncated;
  if (query.recursion_desired) flags |= flag_recursion_desired;
  if (query.checking_disabled) flags |= flag_checking_disabled;
  put16(out, query.id);
  put16(out, flags);
  put16(out, query.question.empty() ? 0 : 1);
  out.append(6, '\0');
  out += query.question;
  uint16_t answers = 0, authority = 0, additional = 0;
  for (const Record& record : answer.answers) {
    if (!write_record(out, record, room)) {
      flags |= flag_truncated;
      break;
    }
    ++answers;
  }
  if (answer.soa && !(flags & flag_truncated) && write_soa(out, *answer.soa, room)) ++authority;
  for (const Record& record : answer.additional)
    if (!(flags & flag_truncated) && write_record(out, record, room)) ++additional;
  if (query.edns) {
    write_opt(out, answer.code);
    ++additional;
  }
  set16(out, 2, flags);
  set16(out, 6, answers);
  set16(out, 8, authority);
  set16(out, 10, additional);
  return out;
}

std::optional<Reply> read_reply(std::string_view bytes) {
  if (bytes.size() < header_bytes) return std::nullopt;
  Reply out;
  out.id = get16(bytes, 0);
  uint16_t flags = get16(bytes, 2);
  out.is_answer = flags & flag_answer;
  out.truncated = flags & flag_truncated;
  out.code = static_cast<uint8_t>(flags & 15);
  if (get16(bytes, 4) != 1) return std::nullopt;
  size_t at = read_name(bytes, header_bytes, out.name);
  if (!at || at + 4 > bytes.size()) return std::nullopt;
  out.type = get16(bytes, at);
  at += 4;
  for (uint16_t i = 0; i < get16(bytes, 6); ++i) {
    RawRecord raw;
    at = read_record(bytes, at, raw);
    if (!at) return out.truncated ? std::optional(out) : std::nullopt;
    Record record{.type = raw.type, .owner = raw.owner, .ttl = raw.ttl};
    if ((raw.type == type_a && raw.data_size == 4) || (raw.type == type_aaaa && raw.data_size == 16))
      record.ip = Ip::from_raw(bytes.substr(raw.data, raw.data_size));
    else if (raw.type != type_cname || read_name(bytes, raw.data, record.target) != raw.data + raw.data_size)
      continue;
    out.answers.push_back(std::move(record));
  }
  return out;
}

std::string truncated_reply(std::string_view first_bytes) {
  std::string name;
  const size_t at = first_bytes.size() > header_bytes ? read_name(first_bytes, header_bytes, name) : 0;
  if (!at || at + 4 > first_bytes.size() || get16(first_bytes, 4) != 1) return {};
  std::string out(first_bytes.substr(0, at + 4));
  set16(out, 2, get16(out, 2) | flag_truncated);
  for (const size_t count : {6, 8, 10}) set16(out, count, 0);
  return out;
}

std::optional<std::string> write_query(uint16_t id, std::string_view name, uint16_t type) {
  std::string out;
  put16(out, id);
  put16(out, flag_recursion_desired);
  for (uint16_t count : {1, 0, 0, 1}) put16(out, count);
  if (!write_name(out, name)) return std::nullopt;
  put16(out, type);
  put16(out, class_internet);
  write_opt(out, code_ok);
  return out;
}

std::string with_id(std::string_view message, uint16_t id) {
  std::string out(message);
  if (out.size() >= 2) set16(out, 0, id);
  return out;
}

}  // namespace dure::dns
