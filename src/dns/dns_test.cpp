#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/answerer.h"
#include "dns/resolv_conf.h"
#include "dns/zone.h"

namespace dure::dns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// ---- Objects.

schema::Object service(const char* cluster_ip, std::vector<std::tuple<const char*, int, const char*>> ports) {
  schema::Document document(kinds::core_v1::Service::type());
  kinds::core_v1::Service view(document);
  view.mutable_spec().set_clusterIP(cluster_ip);
  for (auto& [name, port, protocol] : ports) {
    auto row = view.mutable_spec().add_ports();
    row.set_name(name);
    row.set_port(port);
    row.set_protocol(protocol);
  }
  return schema::share(std::move(document));
}

struct Pod {
  const char* ip;
  const char* hostname = "";
  bool ready = true;
};

std::shared_ptr<const ServiceRecords> records(const schema::Object& object, const std::vector<Pod>& pods = {}) {
  schema::Document document(kinds::discovery_v1::EndpointSlice::type());
  kinds::discovery_v1::EndpointSlice slice(document);
  slice.set_addressType("IPv4");
  auto port = slice.add_ports();
  port.set_name("http");
  port.set_port(8080);
  port.set_protocol("TCP");
  for (const Pod& pod : pods) {
    auto row = slice.add_endpoints();
    row.add_addresses(pod.ip);
    if (*pod.hostname) row.set_hostname(pod.hostname);
    row.mutable_conditions().set_ready(pod.ready);
  }
  return make_records(kinds::core_v1::Service(object), {slice});
}

std::shared_ptr<const ServiceRecords> external(const char* name) {
  schema::Document document(kinds::core_v1::Service::type());
  kinds::core_v1::Service view(document);
  view.mutable_spec().set_type("ExternalName");
  view.mutable_spec().set_externalName(name);
  return make_records(view, {});
}

// ---- A resolver's view of an answer, as dig would print it.

std::string_view type_name(uint16_t type) {
  switch (type) {
    case type_a:
      return "A";
    case type_aaaa:
      return "AAAA";
    case type_cname:
      return "CNAME";
    case type_srv:
      return "SRV";
    case type_ptr:
      return "PTR";
    case type_soa:
      return "SOA";
    case type_txt:
      return "TXT";
    case type_ns:
      return "NS";
    default:
      return "?";
  }
}

class ZoneTest : public testing::Test {
 protected:
  void SetUp() override {
    zone.put("default", "web", records(service("10.96.0.80", {{"http", 80, "TCP"}, {"dns", 53, "UDP"}})));
    zone.put("default", "db",
             records(service("None", {{"http", 80, "TCP"}}),
                     {{"10.244.1.5", "db-0"}, {"10.244.2.6"}, {"10.244.2.7", "db-2", false}}));
    zone.put("default", "none", records(service("None", {})));
    zone.put("prod", "alias", external("Example.COM."));
    zone.put("prod", "inner", external("web.default.svc.cluster.local"));
  }
  std::string look(std::string_view name, uint16_t type = type_a) {
    Lookup found = zone.lookup(name, type);
    if (found.kind == Lookup::Kind::outside) return "outside";
    if (found.kind == Lookup::Kind::no_name) return "NXDOMAIN";
    std::string out = found.kind == Lookup::Kind::alias ? "alias" : "";
    auto add = [&](const std::vector<Record>& list, const char* mark) {
      for (const Record& r : list) {
        out += (out.empty() ? "" : "; ") + std::string(mark) + std::string(type_name(r.type)) + " ";
        if (!r.owner.empty()) out += "(" + r.owner + ") ";
        if (r.type == type_srv)
          out += std::to_string(r.priority) + " " + std::to_string(r.weight) + " " + std::to_string(r.port) + " ";
        out += r.type == type_a || r.type == type_aaaa ? r.ip.text() : r.target;
      }
    };
    add(found.records, "");
    add(found.additional, "+");
    return out.empty() ? "NODATA" : out;
  }
  Zone zone{ZoneOptions{.addresses = {*Ip::parse("10.96.0.10")}}};
};

TEST_F(ZoneTest, ServicesByTheirNames) {
  EXPECT_EQ(look("web.default.svc.cluster.local"), "A 10.96.0.80");
  EXPECT_EQ(look("web.default.svc.cluster.local", type_aaaa), "NODATA");
  EXPECT_EQ(look("web.prod.svc.cluster.local"), "NXDOMAIN");
  EXPECT_EQ(look("x.web.default.svc.cluster.local"), "NXDOMAIN");
  EXPECT_EQ(look("default.svc.cluster.local"), "NODATA");
  EXPECT_EQ(look("nothere.svc.cluster.local"), "NXDOMAIN");
  EXPECT_EQ(look("svc.cluster.local"), "NODATA");
  EXPECT_EQ(look("cluster.local"), "NODATA");
  EXPECT_EQ(look("x.cluster.local"), "NXDOMAIN");
  EXPECT_EQ(look("example.com"), "outside");
  EXPECT_EQ(look("notcluster.local"), "outside");
}

TEST_F(ZoneTest, PortsAsSrv) {
  EXPECT_EQ(look("_http._tcp.web.default.svc.cluster.local", type_srv),
            "SRV 0 100 80 web.default.svc.cluster.local; +A (web.default.svc.cluster.local) 10.96.0.80");
  EXPECT_EQ(look("_http._udp.web.default.svc.cluster.local", type_srv), "NXDOMAIN");
  EXPECT_EQ(look("_nope._tcp.web.default.svc.cluster.local", type_srv), "NXDOMAIN");
  EXPECT_EQ(look("_tcp.web.default.svc.cluster.local", type_srv), "NODATA");
  EXPECT_EQ(look("_http._tcp.web.default.svc.cluster.local"), "NODATA");
  EXPECT_EQ(
      look("_http._tcp.db.default.svc.cluster.local", type_srv),
      "SRV 0 100 8080 10-244-2-6.db.default.svc.cluster.local; SRV 0 100 8080 db-0.db.default.svc.cluster.local; "
      "+A (10-244-2-6.db.default.svc.cluster.local) 10.244.2.6; +A (db-0.db.default.svc.cluster.local) 10.244.1.5");
}

TEST_F(ZoneTest, HeadlessServicesAreTheirReadyPods) {
  EXPECT_EQ(look("db.default.svc.cluster.local"), "A 10.244.2.6; A 10.244.1.5");
  EXPECT_EQ(look("db-0.db.default.svc.cluster.local"), "A 10.244.1.5");
  EXPECT_EQ(look("10-244-2-6.db.default.svc.cluster.local"), "A 10.244.2.6");
  EXPECT_EQ(look("db-2.db.default.svc.cluster.local"), "NXDOMAIN") << "not ready";
  EXPECT_EQ(look("none.default.svc.cluster.local"), "NXDOMAIN") << "no ready endpoint";
}

TEST_F(ZoneTest, PodsByTheirAddress) {
  EXPECT_EQ(look("10-244-3-4.default.pod.cluster.local"), "A 10.244.3.4");
  EXPECT_EQ(look("10-244-3-4.default.pod.cluster.local", type_aaaa), "NODATA");
  EXPECT_EQ(look("nonsense.default.pod.cluster.local"), "NXDOMAIN");
}

TEST_F(ZoneTest, AddressesBackToNames) {
  EXPECT_EQ(look("80.0.96.10.in-addr.arpa", type_ptr), "PTR web.default.svc.cluster.local");
  EXPECT_EQ(look("5.1.244.10.in-addr.arpa", type_ptr), "PTR db-0.db.default.svc.cluster.local");
  EXPECT_EQ(look("9.9.244.10.in-addr.arpa", type_ptr), "NXDOMAIN");
  EXPECT_EQ(look("8.8.8.8.in-addr.arpa", type_ptr), "outside");
}

TEST_F(ZoneTest, ExternalNamesAreAliases) {
  EXPECT_EQ(look("alias.prod.svc.cluster.local"), "alias; CNAME example.com");
  EXPECT_EQ(look("inner.prod.svc.cluster.local"),
            "CNAME web.default.svc.cluster.local; A (web.default.svc.cluster.local) 10.96.0.80");
  zone.put("prod", "loop", external("loop.prod.svc.cluster.local"));
  EXPECT_THAT(look("loop.prod.svc.cluster.local"), HasSubstr("CNAME loop.prod.svc.cluster.local"));
}

TEST_F(ZoneTest, TheZoneItself) {
  EXPECT_EQ(look("cluster.local", type_ns), "NS ns.dns.cluster.local");
  EXPECT_EQ(look("ns.dns.cluster.local"), "A 10.96.0.10");
  EXPECT_EQ(look("dns-version.cluster.local", type_txt), "TXT 1.1.0");
}

TEST_F(ZoneTest, WhatGoesIsForgotten) {
  zone.put("default", "web", nullptr);
  zone.put("default", "db", nullptr);
  zone.put("default", "none", nullptr);
  zone.put("default", "never", nullptr);
  EXPECT_EQ(look("web.default.svc.cluster.local"), "NXDOMAIN");
  EXPECT_EQ(look("default.svc.cluster.local"), "NXDOMAIN");
  EXPECT_EQ(look("80.0.96.10.in-addr.arpa", type_ptr), "NXDOMAIN");
  EXPECT_EQ(zone.services(), 2u);
}

// ---- Messages.

std::string query(std::string_view name, uint16_t type, bool edns = true) {
  std::string out = *write_query(0x1234, name, type);
  if (edns) return out;
  out[11] = 0;
  return out.substr(0, out.size() - 11);
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (unsigned char c : bytes) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", c);
    out += text;
  }
  return out;
}

TEST(Message, AnAnswerByteForByte) {
  Query asked;
  // A query for "Web.a" with mixed case, recursion desired, no EDNS.
  std::string bytes(
      "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03Web\x01"
      "a\x00\x00\x01\x00\x01",
      23);
  ASSERT_EQ(read_query(bytes, asked), Verdict::good);
  EXPECT_EQ(asked.name, "web.a");
  std::string answer =
      write_answer(asked, {.answers = {{.type = type_a, .ip = *Ip::parse("10.96.0.80"), .ttl = 5}}}, 512);
  EXPECT_EQ(hex(answer),
            "1234"
            "8580"
            "0001"
            "0001"
            "0000"
            "0000"
            "0357656201610000010001"  // the name as it came
            "c00c"
            "0001"
            "0001"
            "00000005"
            "0004"
            "0a600050");
}

TEST(Message, NamesThatCannotBeAreRefused) {
  Query asked;
  std::string head("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  EXPECT_EQ(read_query(head, asked), Verdict::malformed);
  EXPECT_EQ(read_query(head + std::string("\xc0\x0c\x00\x01\x00\x01", 6), asked), Verdict::malformed)
      << "a pointer to itself";
  EXPECT_EQ(read_query(head + "\x7fx", asked), Verdict::malformed);
  EXPECT_EQ(read_query(head.substr(0, 11), asked), Verdict::drop);
  std::string answer = head;
  answer[2] = '\x81';
  EXPECT_EQ(read_query(answer, asked), Verdict::drop) << "an answer is never answered";
  EXPECT_FALSE(write_query(1, std::string(64, 'a') + ".b", type_a));
}

TEST(Message, ARoundTripKeepsOddNames) {
  for (const char* name : {"a.b.c", "with\\.dot.example", "back\\\\slash", "_http._tcp.web"}) {
    Query asked;
    std::string bytes = query(name, type_srv);
    ASSERT_EQ(read_query(bytes, asked), Verdict::good) << name;
    EXPECT_EQ(asked.name, name);
    EXPECT_TRUE(asked.edns);
    EXPECT_EQ(asked.udp_bytes, udp_bytes_max);
  }
}

TEST_F(ZoneTest, AnswersFollowTheQuery) {
  Answerer answerer(zone);
  auto answer = [&](std::string_view name, uint16_t type) { return answerer.react(query(name, type), false, 0).bytes; };
  auto reply = read_reply(answer("web.default.svc.cluster.local", type_a));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->code, code_ok);
  ASSERT_EQ(reply->answers.size(), 1u);
  EXPECT_EQ(reply->answers[0].ip.text(), "10.96.0.80");
  EXPECT_EQ(reply->answers[0].ttl, 5u);
  std::string missing = answer("web.nowhere.svc.cluster.local", type_a);
  EXPECT_EQ(read_reply(missing)->code, code_no_name);
  EXPECT_EQ(missing[9], 1) << "a SOA says how long that holds";
  std::string no_data = answer("web.default.svc.cluster.local", type_aaaa);
  EXPECT_EQ(read_reply(no_data)->code, code_ok);
  EXPECT_EQ(no_data[9], 1);
  EXPECT_EQ(answerer.react(query("example.com", type_a), false, 0).kind, Reaction::Kind::forward);
}

TEST_F(ZoneTest, ErrorsOfTheProtocol) {
  Answerer answerer(zone);
  std::string bytes = query("web.default.svc.cluster.local", type_a);
  auto code = [&](std::string changed) { return answerer.react(changed, false, 0).bytes[3] & 15; };
  std::string notify = bytes;
  notify[2] = 0x20;
  EXPECT_EQ(code(notify), code_not_implemented);
  std::string two = bytes;
  two[5] = 2;
  EXPECT_EQ(code(two), code_format);
  std::string chaos = bytes;
  chaos[chaos.size() - 12] = 3;
  EXPECT_EQ(code(chaos), code_refused);
  std::string version = bytes;
  version[version.size() - 5] = 1;  // EDNS version 1
  std::string bad_version = answerer.react(version, false, 0).bytes;
  EXPECT_EQ(bad_version[3] & 15, 0);
  EXPECT_EQ(bad_version[bad_version.size() - 6], 1) << "BADVERS: 1 in the upper bits";
}

TEST_F(ZoneTest, LongAnswersAreTruncatedOverUdpAndWholeOverTcp) {
  std::vector<Pod> pods;
  std::vector<std::string> texts;
  for (int i = 1; i <= 200; ++i) texts.push_back("10.244.3." + std::to_string(i));
  for (auto& text : texts) pods.push_back({text.c_str()});
  zone.put("default", "many", records(service("None", {}), pods));
  Answerer answerer(zone);
  std::string udp = answerer.react(query("many.default.svc.cluster.local", type_a), false, 0).bytes;
  EXPECT_LE(udp.size(), udp_bytes_max);
  EXPECT_TRUE(read_reply(udp)->truncated);
  std::string plain = answerer.react(query("many.default.svc.cluster.local", type_a, false), false, 0).bytes;
  EXPECT_LE(plain.size(), udp_bytes_plain);
  std::string tcp = answerer.react(query("many.default.svc.cluster.local", type_a), true, 0).bytes;
  EXPECT_FALSE(read_reply(tcp)->truncated);
  EXPECT_EQ(read_reply(tcp)->answers.size(), 200u);
}

TEST_F(ZoneTest, EachClientGetsAnotherFirstAddress) {
  Answerer answerer(zone);
  auto first = [&](uint32_t turn) {
    return read_reply(answerer.react(query("db.default.svc.cluster.local", type_a), false, turn).bytes)
        ->answers[0]
        .ip.text();
  };
  EXPECT_NE(first(0), first(1));
  EXPECT_EQ(first(0), first(2));
}

TEST_F(ZoneTest, AnExternalNamesAnswerHasTheAliasInFront) {
  Answerer answerer(zone);
  std::string asked = query("alias.prod.svc.cluster.local", type_a);
  Reaction reaction = answerer.react(asked, false, 0);
  ASSERT_EQ(reaction.kind, Reaction::Kind::forward);
  Query upstream;
  ASSERT_EQ(read_query(reaction.bytes, upstream), Verdict::good);
  EXPECT_EQ(upstream.name, "example.com");
  std::string reply = write_answer(
      upstream,
      {.answers = {{.type = type_cname, .target = "cdn.example.net", .ttl = 60},
                   {.type = type_a, .ip = *Ip::parse("192.0.2.1"), .owner = "cdn.example.net", .ttl = 60}}},
      1232);
  auto final_reply = read_reply(answerer.finish(asked, false, reaction, reply));
  ASSERT_TRUE(final_reply);
  EXPECT_EQ(final_reply->name, "alias.prod.svc.cluster.local");
  ASSERT_EQ(final_reply->answers.size(), 3u);
  EXPECT_EQ(final_reply->answers[0].target, "example.com");
  EXPECT_EQ(final_reply->answers[1].owner, "example.com");
  EXPECT_EQ(final_reply->answers[2].ip.text(), "192.0.2.1");
  EXPECT_EQ(read_reply(answerer.finish(asked, false, reaction, ""))->code, code_failure);
}

TEST(ResolvConf, UpstreamsWithoutOurselves) {
  EXPECT_EQ(
      upstream_of(
          "# x\nsearch lan\nnameserver 10.96.0.10\nnameserver\t192.168.0.254 # router\nnameserver bad\n"
          "nameserver 8.8.8.8\nnameserver 8.8.8.8\nnameserverx 1.1.1.1\n nameserver fd00::1\nnameserver 1.1.1.1\n",
          {*Ip::parse("10.96.0.10")}),
      (std::vector<Ip>{*Ip::parse("192.168.0.254"), *Ip::parse("8.8.8.8"), *Ip::parse("fd00::1")}));
}

}  // namespace
}  // namespace dure::dns
