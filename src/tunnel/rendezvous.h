// Rendezvous: what nodes say of where they can be reached, and how everybody learns it. Soft state: nothing here is
// stored; a server that starts anew hears it all again within seconds, and a node keeps the last table it got.
//
// On the wire: messages with a length of 4 bytes in front, on the first stream that the node opens in its tunnel. A
// message is [1 byte version][1 byte type][body]; numbers are big endian, texts have 2 bytes of length in front, lists
// a count of 2 bytes. Node to server: report (type 1). Server to node: table (type 2): the rows that changed since the
// last one, or all of them on a new connection.
//
// Everything below is a value or a state machine without I/O. Thread: one, unless the owner locks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace dure::tunnel {

// Bounds; what is over them is refused ("RendezvousInvalid"), on both ends.
inline constexpr size_t candidates_max = 16;
inline constexpr size_t reached_max = 512;  // names in `direct`, names in `lan`
inline constexpr size_t servers_max = 32;   // addresses of the server
inline constexpr size_t nodes_max = 4096;   // rows of a table
inline constexpr size_t report_bytes_max = 64 << 10;
inline constexpr size_t message_bytes_max = 256 << 10;

// Where a node's WireGuard port may be reached.
struct Candidate {
  enum class Kind : uint8_t { lan, observed };
  Kind kind = Kind::lan;
  Ip ip;
  uint16_t port = 0;
  friend auto operator<=>(const Candidate&, const Candidate&) = default;
};

// What a node says of itself. Who it is comes from its certificate, never from the report.
struct NodeReport {
  std::string wireguard_key;  // base64; peers use the row only when the Node's annotation says the same
  uint16_t wireguard_port = 0;
  std::vector<Candidate> candidates;
  std::vector<std::string> direct;  // nodes that answer this one over UDP without a relay: relays are chosen from these
  std::vector<std::string> lan;     // nodes reached by LAN: sites are the connected parts of this
  friend bool operator==(const NodeReport&, const NodeReport&) = default;
};

struct NodeView {
  std::string node;
  bool connected = false;  // its tunnel stands now; the report of one that is gone stays as it was last
  Ip observed_tcp;         // where its tunnel comes from, as the server sees it; unspecified: never seen
  bool via_proxy = false;  // then observed_tcp is the proxy's
  NodeReport report;
  friend bool operator==(const NodeView&, const NodeView&) = default;
};

// `node` is only compared with the name in the certificate: a node that calls itself something else is refused.
std::string encode_report(std::string_view node, const NodeReport& report);
struct NamedReport {
  std::string node;
  NodeReport report;
};
Result<NamedReport> decode_report(std::string_view message);

struct TableRow {
  uint32_t number = 0;  // how packets name the node in this tunnel; never zero
  NodeView view;
};
struct TableUpdate {
  bool whole = false;                // forget all rows first
  bool last = true;                  // the table is complete after this message
  std::vector<std::string> servers;  // "host:port", where the server may be reached
  std::vector<TableRow> rows;
};
std::string encode_update(const TableUpdate& update);
Result<TableUpdate> decode_update(std::string_view message);

// Cuts a byte stream into messages. "RendezvousInvalid" for a length over `message_bytes_max`: the stream is useless.
class MessageReader {
 public:
  Status feed(std::string_view bytes);
  bool next(std::string& message);

 private:
  std::string input_;
  size_t at_ = 0;
};
std::string framed(std::string_view message);  // with the length in front

// The server's side. Connects, reports and disconnects go in; per node the messages it has not heard come out. A node
// that reads slowly gets fewer, later messages: changes are kept as versions of rows, not as a queue.
class RendezvousCore {
 public:
  explicit RendezvousCore(std::vector<std::string> servers = {});

  // A new connection of `node`: it is told everything. The answer is its number. "TooManyNodes" when `nodes_max` are
  // connected; a row of one that is gone makes room.
  Result<uint32_t> connect(std::string_view node, const Ip& observed_tcp, bool via_proxy);
  void disconnect(std::string_view node);
  // A report as it came from `node`'s connection. "RendezvousInvalid" or "NotYourName": nothing has changed, and the
  // connection that sent it is not worth keeping.
  Status report(std::string_view node, std::string_view message);

  // The nodes that are connected and have not heard all.
  std::vector<std::string> waiting() const;
  // What to send to `node` next, in order; it counts as heard.
  std::vector<std::string> take_messages(std::string_view node);
  size_t rows() const { return rows_.size(); }

 private:
  struct Row {
    TableRow row;
    uint64_t version = 0;
    uint64_t left = 0;  // version at which it disconnected
    bool connected = false;
    bool wants_whole = false;
    uint64_t heard = 0;  // the version that this node knows
    std::shared_ptr<const std::string> encoded;
  };
  void changed(Row& row);
  bool make_room();

  std::vector<std::string> servers_;
  std::map<std::string, Row, std::less<>> rows_;
  uint64_t version_ = 0;
  uint32_t last_number_ = 0;
};

// The node's side: the table as the messages build it.
class NodeTable {
 public:
  // An Error ("RendezvousInvalid") ends the connection; the table stays as it was.
  Status apply(std::string_view message);
  bool complete() const { return complete_; }  // false between the messages of one update
  std::vector<NodeView> views() const;         // sorted by name
  const std::vector<std::string>& servers() const { return servers_; }
  // 0: no such node.
  uint32_t number_of(std::string_view node) const;
  // Empty: no such number.
  std::string_view name_of(uint32_t number) const;
  // The connection is over: numbers mean nothing any more, the rows stay in force.
  void forget_numbers();

 private:
  std::map<std::string, TableRow, std::less<>> rows_;
  std::map<uint32_t, std::string> names_;
  std::vector<std::string> servers_;
  bool complete_ = false;
};

}  // namespace dure::tunnel
