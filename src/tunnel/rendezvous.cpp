#include "tunnel/rendezvous.h"

#include <algorithm>

namespace dure::tunnel {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kReport = 1, kTable = 2;
constexpr size_t kNameMax = 253, kKeyMax = 64;

Error invalid(std::string_view why) {
  return Error{400, "RendezvousInvalid", "rendezvous message refused: " + std::string(why)};
}

class Writer {
 public:
  explicit Writer(uint8_t type) {
    u8(kVersion);
    u8(type);
  }
  Writer() = default;
  void u8(uint8_t value) { out_ += static_cast<char>(value); }
  void u16(size_t value) {
    u8(static_cast<uint8_t>(value >> 8));
    u8(static_cast<uint8_t>(value));
  }
  void u32(uint32_t value) {
    u16(value >> 16);
    u16(value & 0xffff);
  }
  void text(std::string_view value) {
    u16(value.size());
    out_ += value;
  }
  void texts(const std::vector<std::string>& values) {
    u16(values.size());
    for (const std::string& value : values) text(value);
  }
  void ip(const Ip& value) {
    u8(value.v6 ? 6 : 4);
    out_ += value.raw();
  }
  void raw(std::string_view bytes) { out_ += bytes; }
  size_t size() const { return out_.size(); }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// After the first thing that is wrong every read answers nothing and `status` says what it was.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  void head(uint8_t type) {
    const uint8_t version = u8(), got = u8();
    if (good_ && version != kVersion) wrong("version " + std::to_string(version));
    if (good_ && got != type) wrong("type " + std::to_string(got));
  }
  uint8_t u8() {
    if (!has(1)) return 0;
    const auto value = static_cast<uint8_t>(bytes_[0]);
    bytes_.remove_prefix(1);
    return value;
  }
  uint16_t u16() {
    const uint16_t high = u8();
    return static_cast<uint16_t>(high << 8 | u8());
  }
  uint32_t u32() {
    const uint32_t high = u16();
    return high << 16 | u16();
  }
  bool flag() {
    const uint8_t value = u8();
    if (value > 1) wrong("a flag that is neither 0 nor 1");
    return value == 1;
  }
  std::string_view raw(size_t size) {
    if (!has(size)) return {};
    const std::string_view value = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return value;
  }
  std::string name() {
    const std::string_view value = raw(u16());
    if (good_ && !valid_name(value)) wrong("a name that no node can have");
    return std::string(value);
  }
  std::string text(size_t max) {
    const std::string_view value = raw(u16());
    if (value.size() > max) wrong("a text of " + std::to_string(value.size()) + " bytes");
    for (const char c : value)
      if (c <= ' ' || c > '~') wrong("a text with bytes that are not printable");
    return std::string(value);
  }
  // A count, not more than `max`.
  size_t count(size_t max) {
    const size_t value = u16();
    if (value > max) wrong("a list of " + std::to_string(value) + " entries");
    return good_ ? value : 0;
  }
  Ip ip() {
    const uint8_t family = u8();
    if (good_ && family != 4 && family != 6) wrong("address family " + std::to_string(family));
    const std::string_view bytes = raw(family == 6 ? 16 : 4);
    return good_ ? Ip::from_raw(bytes) : Ip();
  }
  void end() {
    if (good_ && !bytes_.empty()) wrong("bytes behind its end");
  }
  void wrong(std::string why) {
    if (good_) why_ = std::move(why);
    good_ = false;
    bytes_ = {};
  }
  bool good() const { return good_; }
  Status status() const {
    if (good_) return {};
    return fail(invalid(why_));
  }

 private:
  // DNS-1123 subdomain, as Nodes are named.
  static bool valid_name(std::string_view name) {
    if (name.empty() || name.size() > kNameMax) return false;
    return std::all_of(name.begin(), name.end(),
                       [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; });
  }
  bool has(size_t size) {
    if (good_ && bytes_.size() < size) wrong("it is cut short");
    return good_;
  }
  std::string_view bytes_;
  bool good_ = true;
  std::string why_;
};

void write_report(Writer& out, const NodeReport& report) {
  out.text(report.wireguard_key);
  out.u16(report.wireguard_port);
  out.u16(report.candidates.size());
  for (const Candidate& candidate : report.candidates) {
    out.u8(static_cast<uint8_t>(candidate.kind));
    out.ip(candidate.ip);
    out.u16(candidate.port);
  }
  out.texts(report.direct);
  out.texts(report.lan);
}

std::vector<std::string> read_names(Reader& in) {
  std::vector<std::string> out;
  for (size_t left = in.count(reached_max); left > 0 && in.good(); --left) out.push_back(in.name());
  return out;
}

NodeReport read_report(Reader& in) {
  NodeReport report;
  report.wireguard_key = in.text(kKeyMax);
  report.wireguard_port = in.u16();
  for (size_t left = in.count(candidates_max); left > 0 && in.good(); --left) {
    Candidate candidate;
    const uint8_t kind = in.u8();
    if (kind > static_cast<uint8_t>(Candidate::Kind::observed)) in.wrong("candidate kind " + std::to_string(kind));
    candidate.kind = static_cast<Candidate::Kind>(kind);
    candidate.ip = in.ip();
    candidate.port = in.u16();
    if (in.good() && (candidate.port == 0 || candidate.ip.is_unspecified())) in.wrong("a candidate that is nowhere");
    report.candidates.push_back(candidate);
  }
  report.direct = read_names(in);
  report.lan = read_names(in);
  return report;
}

void write_row(Writer& out, const TableRow& row) {
  out.u32(row.number);
  out.text(row.view.node);
  out.u8(row.view.connected);
  out.ip(row.view.observed_tcp);
  out.u8(row.view.via_proxy);
  write_report(out, row.view.report);
}

TableRow read_row(Reader& in) {
  TableRow row;
  row.number = in.u32();
  if (in.good() && row.number == 0) in.wrong("a row without a number");
  row.view.node = in.name();
  row.view.connected = in.flag();
  row.view.observed_tcp = in.ip();
  row.view.via_proxy = in.flag();
  row.view.report = read_report(in);
  return row;
}

void write_update_head(Writer& out, const TableUpdate& update, size_t rows) {
  out.u8(update.whole);
  out.u8(update.last);
  out.texts(update.servers);
  out.u16(rows);
}

}  // namespace

std::string encode_report(std::string_view node, const NodeReport& report) {
  Writer out(kReport);
  out.text(node);
  write_report(out, report);
  return out.take();
}

Result<NamedReport> decode_report(std::string_view message) {
  if (message.size() > report_bytes_max)
    return fail(invalid("a report of " + std::to_string(message.size()) + " bytes"));
  Reader in(message);
  NamedReport named;
  in.head(kReport);
  named.node = in.name();
  named.report = read_report(in);
  in.end();
  DURE_CHECK(in.status());
  return named;
}

std::string encode_update(const TableUpdate& update) {
  Writer out(kTable);
  write_update_head(out, update, update.rows.size());
  for (const TableRow& row : update.rows) write_row(out, row);
  return out.take();
}

Result<TableUpdate> decode_update(std::string_view message) {
  if (message.size() > message_bytes_max)
    return fail(invalid("a table of " + std::to_string(message.size()) + " bytes"));
  Reader in(message);
  TableUpdate update;
  in.head(kTable);
  update.whole = in.flag();
  update.last = in.flag();
  for (size_t left = in.count(servers_max); left > 0 && in.good(); --left) update.servers.push_back(in.text(300));
  for (size_t left = in.count(nodes_max); left > 0 && in.good(); --left) update.rows.push_back(read_row(in));
  in.end();
  DURE_CHECK(in.status());
  return update;
}

std::string framed(std::string_view message) {
  Writer out;
  out.u32(static_cast<uint32_t>(message.size()));
  out.raw(message);
  return out.take();
}

Status MessageReader::feed(std::string_view bytes) {
  input_.erase(0, std::exchange(at_, 0));
  input_ += bytes;
  // Only the first length can be looked at before the message in front of the next one is there.
  for (size_t at = 0; input_.size() - at >= 4;) {
    const uint32_t size = Reader(std::string_view(input_).substr(at)).u32();
    if (size > message_bytes_max) return fail(invalid("a message of " + std::to_string(size) + " bytes"));
    if (input_.size() - at - 4 < size) break;
    at += 4 + size;
  }
  return {};
}

bool MessageReader::next(std::string& message) {
  const std::string_view rest = std::string_view(input_).substr(at_);
  if (rest.size() < 4) return false;
  const uint32_t size = Reader(rest).u32();
  if (rest.size() - 4 < size) return false;
  message = rest.substr(4, size);
  at_ += 4 + size;
  return true;
}

RendezvousCore::RendezvousCore(std::vector<std::string> servers) : servers_(std::move(servers)) {
  if (servers_.size() > servers_max) servers_.resize(servers_max);
}

void RendezvousCore::changed(Row& row) {
  row.version = ++version_;
  Writer out;
  write_row(out, row.row);
  row.encoded = std::make_shared<const std::string>(out.take());
}

// The row of the node that left first goes. Rows that vanish are rare: everybody hears the whole table then.
bool RendezvousCore::make_room() {
  if (rows_.size() < nodes_max) return true;
  auto oldest = rows_.end();
  for (auto it = rows_.begin(); it != rows_.end(); ++it)
    if (!it->second.connected && (oldest == rows_.end() || it->second.left < oldest->second.left)) oldest = it;
  if (oldest == rows_.end()) return false;
  rows_.erase(oldest);
  for (auto& [name, row] : rows_) row.wants_whole = true;
  return true;
}

Result<uint32_t> RendezvousCore::connect(std::string_view node, const Ip& observed_tcp, bool via_proxy) {
  auto found = rows_.find(node);
  if (found == rows_.end()) {
    if (!make_room())
      return fail(Error{503, "TooManyNodes", "this server keeps tunnels of " + std::to_string(nodes_max) + " nodes"});
    found = rows_.emplace(std::string(node), Row()).first;
    found->second.row.number = ++last_number_;
    found->second.row.view.node = std::string(node);
  }
  Row& row = found->second;
  NodeView& view = row.row.view;
  const NodeView before = view;
  view.connected = row.connected = true;
  view.observed_tcp = observed_tcp;
  view.via_proxy = via_proxy;
  row.wants_whole = true;
  if (!row.encoded || !(view == before)) changed(row);
  return row.row.number;
}

void RendezvousCore::disconnect(std::string_view node) {
  const auto found = rows_.find(node);
  if (found == rows_.end() || !found->second.connected) return;
  Row& row = found->second;
  row.connected = row.row.view.connected = false;
  changed(row);
  row.left = version_;
}

Status RendezvousCore::report(std::string_view node, std::string_view message) {
  DURE_TRY(NamedReport named, decode_report(message));
  if (named.node != node)
    return fail(Error{403, "NotYourName",
                      "the agent of node \"" + std::string(node) + "\" reported as \"" + named.node + "\""});
  const auto found = rows_.find(node);
  if (found == rows_.end() || !found->second.connected) return {};
  NodeReport& kept = found->second.row.view.report;
  if (kept == named.report) return {};
  kept = std::move(named.report);
  changed(found->second);
  return {};
}

std::vector<std::string> RendezvousCore::waiting() const {
  std::vector<std::string> out;
  for (const auto& [name, row] : rows_)
    if (row.connected && (row.wants_whole || row.heard < version_)) out.push_back(name);
  return out;
}

std::vector<std::string> RendezvousCore::take_messages(std::string_view node) {
  std::vector<std::string> out;
  const auto found = rows_.find(node);
  if (found == rows_.end() || !found->second.connected) return out;
  Row& reader = found->second;
  if (!reader.wants_whole && reader.heard >= version_) return out;
  TableUpdate head{.whole = reader.wants_whole, .last = false, .servers = servers_, .rows = {}};
  std::vector<const Row*> batch;
  size_t bytes = 0;
  const auto close_batch = [&](bool last) {
    head.last = last;
    Writer writer(kTable);
    write_update_head(writer, head, batch.size());
    for (const Row* row : batch) writer.raw(*row->encoded);
    out.push_back(writer.take());
    head.whole = false;
    batch.clear();
    bytes = 0;
  };
  const uint64_t known = reader.wants_whole ? 0 : reader.heard;
  for (const auto& [name, row] : rows_) {
    if (row.version <= known) continue;
    if (bytes + row.encoded->size() > message_bytes_max / 2) close_batch(false);
    bytes += row.encoded->size();
    batch.push_back(&row);
  }
  close_batch(true);
  reader.wants_whole = false;
  reader.heard = version_;
  return out;
}

Status NodeTable::apply(std::string_view message) {
  DURE_TRY(TableUpdate update, decode_update(message));
  if (update.whole) {
    rows_.clear();
    names_.clear();
  }
  servers_ = std::move(update.servers);
  for (TableRow& row : update.rows) {
    if (rows_.size() >= nodes_max && !rows_.contains(row.view.node)) return fail(invalid("too many rows"));
    names_[row.number] = row.view.node;
    std::string name = row.view.node;
    rows_.insert_or_assign(std::move(name), std::move(row));
  }
  complete_ = update.last;
  return {};
}

std::vector<NodeView> NodeTable::views() const {
  std::vector<NodeView> out;
  out.reserve(rows_.size());
  for (const auto& [name, row] : rows_) out.push_back(row.view);
  return out;
}

uint32_t NodeTable::number_of(std::string_view node) const {
  const auto found = rows_.find(node);
  return found == rows_.end() ? 0 : found->second.number;
}

std::string_view NodeTable::name_of(uint32_t number) const {
  const auto found = names_.find(number);
  return found == names_.end() ? std::string_view() : std::string_view(found->second);
}

void NodeTable::forget_numbers() {
  names_.clear();
  for (auto& [name, row] : rows_) row.number = 0;
}

}  // namespace dure::tunnel
