#include "kernel/nft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "kernel/links.h"
#include "kernel/namespace_fixture.h"

namespace dure::kernel {
namespace {

const NftSet services{
    .name = "svc", .key = {NftPartType::address, NftPartType::protocol, NftPartType::port}, .verdicts = true};
const NftSet endpoints{.name = "ep",
                       .key = {NftPartType::address, NftPartType::protocol, NftPartType::port, NftPartType::number},
                       .data = {NftPartType::address, NftPartType::port}};
const NftSet affinity{.name = "affinity",
                      .key = {NftPartType::address, NftPartType::address, NftPartType::protocol, NftPartType::port},
                      .data = {NftPartType::address, NftPartType::port},
                      .dynamic = true};
const NftKeyParts service_key{NftField::ip_destination, NftField::l4_protocol, NftField::port_destination};

std::string address(const char* text) { return std::string(Ip::parse(text)->raw()); }
std::string tcp() { return std::string(1, 6); }

NftRule dnat_rule(uint32_t count) {
  NftKeyParts key = service_key;
  key.push_back(NftPart::random(count));
  return {NftDnatMap{.key = key, .map = "ep"}};
}

NftBatch whole() {
  NftBatch batch;
  batch.put_set(services).put_set(endpoints).put_set(affinity);
  batch.put_chain({.name = "n2"});
  batch.put_chain({.name = "pre", .hook = NftHook::prerouting, .type = NftChainType::nat, .priority = -100});
  batch.add_rule("n2", dnat_rule(2));
  batch.add_rule("pre", {NftVerdictMap{service_key, "svc"}});
  batch.add_elements(services, {{.key = nft_key({address("10.96.0.1"), tcp(), nft_port(443)}),
                                 .verdict = NftVerdict{NftVerdict::Kind::go_to, "n2"}}});
  std::vector<NftElement> two;
  for (uint32_t i = 0; i < 2; ++i)
    two.push_back({.key = nft_key({address("10.96.0.1"), tcp(), nft_port(443), nft_u32(i)}),
                   .data = nft_key({address("10.244.1.2"), nft_port(static_cast<uint16_t>(6443 + i))})});
  batch.add_elements(endpoints, two);
  return batch;
}

class NftTest : public testing::Test {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    ns_.emplace(must(NetNamespace::create()));
    nft_ = must(open_nft("dure", &*ns_));
  }
  std::string listed() { return output_in(*ns_, "nft list ruleset"); }
  std::optional<NetNamespace> ns_;
  std::unique_ptr<Nft> nft_;
};

TEST_F(NftTest, AnAbsentTableIsEmpty) {
  EXPECT_TRUE(must(nft_->chains()).empty());
  EXPECT_TRUE(must(nft_->sets()).empty());
  EXPECT_EQ(nft_->elements(services).error().reason, "NotFound");
  must(nft_->remove_table());
}

TEST_F(NftTest, WhatWasAppliedIsReadBack) {
  must(nft_->apply(whole()));
  auto chains = must(nft_->chains());
  ASSERT_EQ(chains.size(), 2u);
  EXPECT_EQ(chains[1].chain,
            (NftChain{.name = "pre", .hook = NftHook::prerouting, .type = NftChainType::nat, .priority = -100}));
  EXPECT_THAT(chains[0].rules, testing::ElementsAre(fnv1a_64(nft_text(dnat_rule(2)))));
  EXPECT_THAT(must(nft_->sets()), testing::UnorderedElementsAre("svc", "ep", "affinity"));
  auto found = must(nft_->elements(services));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].key, nft_key({address("10.96.0.1"), tcp(), nft_port(443)}));
  EXPECT_EQ(found[0].verdict, (NftVerdict{NftVerdict::Kind::go_to, "n2"}));
  EXPECT_EQ(must(nft_->elements(endpoints)).size(), 2u);
  must(nft_->remove_table());
  EXPECT_TRUE(must(nft_->chains()).empty());
}

TEST_F(NftTest, TheToolCanPrintIt) {
  must(nft_->apply(whole()));
  std::string text = listed();
  EXPECT_THAT(text, testing::HasSubstr("ip daddr . meta l4proto . th dport vmap @svc")) << text;
  EXPECT_THAT(text, testing::HasSubstr("10.96.0.1 . tcp . 443 : goto n2")) << text;
  EXPECT_THAT(text, testing::HasSubstr("10.244.1.2 . 6444")) << text;
}

TEST_F(NftTest, ATransactionIsAllOrNothingAndNamesTheCulprit) {
  must(nft_->apply(whole()));
  NftBatch bad;
  bad.put_chain({.name = "n3"}).remove_chain("absent");
  auto refused = nft_->apply(bad);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("chain absent"));
  EXPECT_EQ(refused.error().reason, "NotFound");
  EXPECT_EQ(must(nft_->chains()).size(), 2u);
}

TEST_F(NftTest, AnElementChangesInOneTransaction) {
  must(nft_->apply(whole()));
  auto all = must(nft_->elements(endpoints));
  NftElement changed = all[0];
  changed.data = nft_key({address("10.244.9.9"), nft_port(1)});
  EXPECT_EQ(nft_->apply(NftBatch().add_elements(endpoints, {changed})).error().reason, "AlreadyExists");
  must(nft_->apply(NftBatch().remove_elements(endpoints, {all[0]}).add_elements(endpoints, {changed})));
  EXPECT_THAT(must(nft_->elements(endpoints)), testing::UnorderedElementsAre(changed, all[1]));
  must(nft_->apply(NftBatch().flush_set("ep")));
  EXPECT_TRUE(must(nft_->elements(endpoints)).empty());
  EXPECT_EQ(nft_->apply(NftBatch().remove_elements(endpoints, {changed})).error().reason, "NotFound");
}

TEST_F(NftTest, ManyElementsAreSplit) {
  must(nft_->apply(whole()));
  std::vector<NftElement> many;
  for (uint32_t i = 0; i < 5000; ++i)
    many.push_back({.key = nft_key({std::string(Ip::v4(0x0a610000 + i).raw()), tcp(), nft_port(80)}),
                    .verdict = NftVerdict{NftVerdict::Kind::go_to, "n2"}});
  must(nft_->apply(NftBatch().add_elements(services, many)));
  EXPECT_EQ(must(nft_->elements(services)).size(), 5001u);
  must(nft_->apply(NftBatch().remove_elements(services, many)));
  EXPECT_EQ(must(nft_->elements(services)).size(), 1u);
}

TEST_F(NftTest, SyncChainRebuildsOnlyWhatDiffers) {
  must(nft_->apply(whole()));
  NftChain pre{.name = "pre", .hook = NftHook::prerouting, .type = NftChainType::nat, .priority = -100};
  NftBatch none;
  nft_sync_chain(none, must(nft_->chains()), pre, {{NftVerdictMap{service_key, "svc"}}});
  EXPECT_TRUE(none.empty());
  run_in(*ns_, "nft add rule ip dure pre counter");
  NftBatch repair;
  nft_sync_chain(repair, must(nft_->chains()), pre, {{NftVerdictMap{service_key, "svc"}}});
  must(nft_->apply(repair));
  NftBatch again;
  nft_sync_chain(again, must(nft_->chains()), pre, {{NftVerdictMap{service_key, "svc"}}});
  EXPECT_TRUE(again.empty());
}

TEST_F(NftTest, EveryExpressionIsTaken) {
  NftBatch batch;
  batch.put_chain({.name = "f", .hook = NftHook::forward});
  batch.put_chain({.name = "raw", .hook = NftHook::prerouting, .priority = -300});
  batch.put_chain({.name = "post", .hook = NftHook::postrouting, .type = NftChainType::nat, .priority = 100});
  batch.put_chain({.name = "x"});
  batch.put_set({.name = "pairs", .key = {NftPartType::address, NftPartType::address}});
  batch.add_rule("f", {nft_within(NftField::ip_destination, *IpPrefix::parse("10.96.0.0/12")), nft_protocol(nft_tcp),
                       NftCounter{}, NftReject{true}});
  batch.add_rule("f", {NftMatch{NftField::input_link, nft_name("cni0")}, NftReject{}});
  batch.add_rule(
      "f", {NftMatch{NftField::address_type, nft_u32(nft_address_local)}, NftVerdict{NftVerdict::Kind::jump, "x"}});
  batch.add_rule("raw", {nft_protocol(nft_udp), NftNotrack{}, NftVerdict{}});
  batch.add_rule("post", {nft_mark_set(0x4000), NftMasquerade{}});
  batch.add_rule("post", {nft_bits_set(NftField::ct_status, nft_ct_status_dnat),
                          NftLookup{{NftField::ip_source, NftField::ip_destination}, "pairs"}, NftMasquerade{}});
  batch.put_set(affinity);
  batch.add_rule("x", {NftUpdate{"affinity",
                                 {NftField::ip_source, NftField::ct_original_destination, NftField::l4_protocol,
                                  NftField::ct_original_port_destination},
                                 {NftField::ip_destination, NftField::port_destination},
                                 3h}});
  batch.add_rule("x", {NftUpdate{"affinity",
                                 {NftField::ip_source, NftPart::constant_of(address("0.0.0.0")), NftField::l4_protocol,
                                  NftField::ct_original_port_destination},
                                 {NftField::ip_destination, NftField::port_destination},
                                 3h}});
  batch.add_rule("x", {NftSetMark{0x4000}, NftVerdict{NftVerdict::Kind::return_}});
  batch.add_rule("x", {nft_bits_set(NftField::ct_state, nft_ct_state_new), NftVerdict{NftVerdict::Kind::drop}});
  must(nft_->apply(batch));
  std::string text = listed();
  for (const char* part : {"ip daddr 10.96.0.0/12", "reject with tcp reset", "iifname \"cni0\"", "fib daddr type local",
                           "notrack", "masquerade", "ct status dnat", "ip saddr . ip daddr @pairs",
                           "meta mark set meta mark | 0x00004000", "ct state new",
                           "update @affinity { ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst "
                           "timeout 3h : ip daddr . th dport }"})
    EXPECT_THAT(text, testing::HasSubstr(part)) << text;
}

}  // namespace
}  // namespace dure::kernel
