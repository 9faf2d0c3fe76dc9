#include "tunnel/rendezvous.h"

#include <gtest/gtest.h>

#include <random>

namespace dure::tunnel {
namespace {

NodeReport report_of(uint16_t port) {
  NodeReport report;
  report.wireguard_key = "mXq1nYmzoxcDLVG1tmcWHhXrqR+7Yc5dkGZzJtB2TTA=";
  report.wireguard_port = port;
  report.candidates = {{Candidate::Kind::lan, *Ip::parse("192.168.0.7"), port},
                       {Candidate::Kind::observed, *Ip::parse("2001:db8::7"), 40000}};
  report.direct = {"pi", "office-pc"};
  report.lan = {"pi"};
  return report;
}

// A node's side of a core: what it is told goes into its table.
struct Listener {
  std::string name;
  NodeTable table;
  size_t messages = 0;

  void hear(RendezvousCore& core) {
    for (const std::string& message : core.take_messages(name)) {
      ++messages;
      const Status applied = table.apply(message);
      ASSERT_TRUE(applied) << applied.error().message;
    }
    EXPECT_TRUE(table.complete());
  }
  const NodeView* find(std::string_view node) {
    views = table.views();
    for (const NodeView& view : views)
      if (view.node == node) return &view;
    return nullptr;
  }
  std::vector<NodeView> views;
};

TEST(Rendezvous, AReportIsReadAsItWasWritten) {
  const auto named = decode_report(encode_report("laptop", report_of(51820)));
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->node, "laptop");
  EXPECT_EQ(named->report, report_of(51820));
}

TEST(Rendezvous, EveryNodeHearsOfEveryOther) {
  RendezvousCore core({"192.0.2.1:6443", "home.example.org:6443"});
  Listener a{"a", {}}, b{"b", {}};
  ASSERT_TRUE(core.connect("a", *Ip::parse("198.51.100.1"), false));
  ASSERT_TRUE(core.report("a", encode_report("a", report_of(1001))));
  const auto number = core.connect("b", *Ip::parse("203.0.113.9"), true);
  ASSERT_TRUE(number);
  EXPECT_EQ(core.waiting(), (std::vector<std::string>{"a", "b"}));
  a.hear(core);
  b.hear(core);
  EXPECT_TRUE(core.waiting().empty());
  ASSERT_TRUE(b.find("a"));
  EXPECT_EQ(b.find("a")->report, report_of(1001));
  EXPECT_EQ(b.find("a")->observed_tcp, *Ip::parse("198.51.100.1"));
  ASSERT_TRUE(a.find("b"));
  EXPECT_TRUE(a.find("b")->via_proxy);
  EXPECT_TRUE(a.find("b")->connected);
  EXPECT_EQ(a.table.number_of("b"), *number);
  EXPECT_EQ(a.table.name_of(*number), "b");
  EXPECT_EQ(a.table.servers(), (std::vector<std::string>{"192.0.2.1:6443", "home.example.org:6443"}));
}

TEST(Rendezvous, AChangeIsSentAsTheChangedRowOnly) {
  RendezvousCore core;
  Listener a{"a", {}}, b{"b", {}};
  ASSERT_TRUE(core.connect("a", Ip(), false));
  ASSERT_TRUE(core.connect("b", Ip(), false));
  a.hear(core);
  ASSERT_TRUE(core.report("b", encode_report("b", report_of(7))));
  const auto messages = core.take_messages("a");
  ASSERT_EQ(messages.size(), 1u);
  const auto update = decode_update(messages[0]);
  ASSERT_TRUE(update);
  EXPECT_FALSE(update->whole);
  ASSERT_EQ(update->rows.size(), 1u);
  EXPECT_EQ(update->rows[0].view.node, "b");
  // The same report again is no change.
  ASSERT_TRUE(core.report("b", encode_report("b", report_of(7))));
  EXPECT_TRUE(core.take_messages("a").empty());
}

TEST(Rendezvous, WhoLeavesKeepsHisRowAndWhoComesBackHearsAll) {
  RendezvousCore core;
  Listener a{"a", {}}, b{"b", {}};
  ASSERT_TRUE(core.connect("a", Ip(), false));
  const auto first = core.connect("b", Ip(), false);
  ASSERT_TRUE(core.report("b", encode_report("b", report_of(7))));
  core.disconnect("b");
  a.hear(core);
  ASSERT_TRUE(a.find("b"));
  EXPECT_FALSE(a.find("b")->connected);
  EXPECT_EQ(a.find("b")->report, report_of(7));
  EXPECT_TRUE(core.take_messages("b").empty());
  const auto again = core.connect("b", *Ip::parse("198.51.100.9"), false);
  ASSERT_TRUE(again);
  EXPECT_EQ(*first, *again);
  b.hear(core);
  EXPECT_EQ(b.table.views().size(), 2u);
  a.hear(core);
  EXPECT_EQ(a.find("b")->observed_tcp, *Ip::parse("198.51.100.9"));
}

TEST(Rendezvous, TheLastTableStaysInForceButItsNumbersDoNot) {
  RendezvousCore core;
  Listener a{"a", {}};
  ASSERT_TRUE(core.connect("a", Ip(), false));
  ASSERT_TRUE(core.connect("b", Ip(), false));
  a.hear(core);
  a.table.forget_numbers();
  EXPECT_EQ(a.table.views().size(), 2u);
  EXPECT_EQ(a.table.number_of("b"), 0u);
}

TEST(Rendezvous, ForgedReportsAreRefusedAndChangeNothing) {
  RendezvousCore core;
  Listener a{"a", {}};
  ASSERT_TRUE(core.connect("a", Ip(), false));
  ASSERT_TRUE(core.connect("b", Ip(), false));
  a.hear(core);
  const std::string good = encode_report("b", report_of(7));
  EXPECT_EQ(core.report("b", encode_report("a", report_of(7))).error().reason, "NotYourName");
  EXPECT_EQ(core.report("b", encode_report("B_x", report_of(7))).error().reason, "RendezvousInvalid");
  std::string version = good;
  version[0] = 2;
  EXPECT_NE(core.report("b", version).error().message.find("version 2"), std::string::npos);
  std::string type = good;
  type[1] = 2;
  EXPECT_FALSE(core.report("b", type));
  EXPECT_FALSE(core.report("b", good + "x"));
  for (size_t cut = 0; cut < good.size(); ++cut) EXPECT_FALSE(core.report("b", good.substr(0, cut))) << cut;
  EXPECT_FALSE(core.report("b", std::string(report_bytes_max + 1, '\1')));
  NodeReport many = report_of(7);
  many.candidates.assign(candidates_max + 1, many.candidates[0]);
  EXPECT_FALSE(core.report("b", encode_report("b", many)));
  many = report_of(7);
  many.direct.assign(reached_max + 1, "x");
  EXPECT_FALSE(core.report("b", encode_report("b", many)));
  many = report_of(7);
  many.candidates[0].port = 0;
  EXPECT_FALSE(core.report("b", encode_report("b", many)));
  many = report_of(7);
  many.wireguard_key = "two lines\nfor a log";
  EXPECT_FALSE(core.report("b", encode_report("b", many)));
  EXPECT_TRUE(core.take_messages("a").empty());
}

TEST(Rendezvous, ABigTableComesInPiecesAndIsCompleteAtTheEnd) {
  RendezvousCore core;
  NodeReport big = report_of(7);
  for (size_t i = 0; i < reached_max; ++i) big.direct.push_back("a-node-with-quite-a-long-name-" + std::to_string(i));
  big.direct.resize(reached_max);
  for (int i = 0; i < 40; ++i) {
    const std::string name = "n" + std::to_string(i);
    ASSERT_TRUE(core.connect(name, Ip(), false));
    ASSERT_TRUE(core.report(name, encode_report(name, big)));
  }
  NodeTable table;
  const auto messages = core.take_messages("n0");
  ASSERT_GT(messages.size(), 2u);
  for (size_t i = 0; i < messages.size(); ++i) {
    EXPECT_LE(messages[i].size(), message_bytes_max);
    ASSERT_TRUE(table.apply(messages[i]));
    EXPECT_EQ(table.complete(), i + 1 == messages.size());
  }
  EXPECT_EQ(table.views().size(), 40u);
}

TEST(Rendezvous, AFullTableMakesRoomByTheOneThatLeftFirst) {
  RendezvousCore core;
  for (size_t i = 0; i < nodes_max; ++i) ASSERT_TRUE(core.connect("n" + std::to_string(i), Ip(), false));
  EXPECT_EQ(core.connect("late", Ip(), false).error().reason, "TooManyNodes");
  core.disconnect("n7");
  core.disconnect("n8");
  ASSERT_TRUE(core.connect("late", Ip(), false));
  EXPECT_EQ(core.rows(), nodes_max);
  NodeTable table;
  for (const std::string& message : core.take_messages("n0")) ASSERT_TRUE(table.apply(message));
  EXPECT_EQ(table.number_of("n7"), 0u);
  EXPECT_NE(table.number_of("n8"), 0u);
}

TEST(MessageReader, CutsAnywhere) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::string> sent, got;
    std::string bytes;
    for (int i = 0; i < 30; ++i) {
      sent.push_back(std::string(random() % 300, static_cast<char>('a' + i % 26)));
      bytes += framed(sent.back());
    }
    MessageReader reader;
    while (!bytes.empty()) {
      const size_t part = std::min<size_t>(bytes.size(), 1 + random() % 500);
      ASSERT_TRUE(reader.feed(std::string_view(bytes).substr(0, part))) << "seed " << seed;
      bytes.erase(0, part);
      std::string message;
      while (reader.next(message)) got.push_back(message);
    }
    EXPECT_EQ(got, sent) << "seed " << seed;
  }
}

TEST(MessageReader, AnOversizedLengthEndsIt) {
  MessageReader reader;
  EXPECT_EQ(reader.feed(std::string("\x00\x04\x00\x01", 4)).error().reason, "RendezvousInvalid");
  MessageReader behind;
  EXPECT_FALSE(behind.feed(framed("ok") + std::string("\xff\xff\xff\xff", 4)));
}

// Whatever happens in whatever order, every connected node ends with the same table.
TEST(Rendezvous, RandomLivesConverge) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    RendezvousCore core;
    std::map<std::string, Listener> nodes;
    for (int i = 0; i < 300; ++i) {
      const std::string name = "n" + std::to_string(random() % 6);
      switch (random() % 4) {
        case 0:
          ASSERT_TRUE(core.connect(name, Ip::v4(random()), random() % 2));
          nodes[name] = Listener{name, {}};
          break;
        case 1:
          core.disconnect(name);
          nodes.erase(name);
          break;
        case 2:
          if (nodes.contains(name)) {
            ASSERT_TRUE(core.report(name, encode_report(name, report_of(static_cast<uint16_t>(1 + random() % 999)))));
          }
          break;
        default:
          if (nodes.contains(name)) nodes[name].hear(core);
      }
    }
    for (auto& [name, node] : nodes) node.hear(core);
    EXPECT_TRUE(core.waiting().empty());
    for (auto& [name, node] : nodes)
      EXPECT_EQ(node.table.views(), nodes.begin()->second.table.views()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace dure::tunnel
