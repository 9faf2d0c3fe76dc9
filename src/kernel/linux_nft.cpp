#include <netinet/in.h>  // before the kernel's own headers, which then step aside
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/netfilter_ipv4.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "kernel/namespaces.h"
#include "kernel/nft_encode.h"

namespace dure::kernel {

using netlink::Message;
using netlink::Writer;

namespace {

nfgenmsg family_header(uint8_t family, uint16_t resource = 0) { return {family, NFNETLINK_V0, htons(resource)}; }

uint16_t nft_type(uint16_t message) { return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message); }

uint32_t hook_number(NftHook hook) {
  switch (hook) {
    case NftHook::prerouting:
      return NF_INET_PRE_ROUTING;
    case NftHook::input:
      return NF_INET_LOCAL_IN;
    case NftHook::forward:
      return NF_INET_FORWARD;
    case NftHook::output:
      return NF_INET_LOCAL_OUT;
    case NftHook::postrouting:
    case NftHook::none:
      break;
  }
  return NF_INET_POST_ROUTING;
}

NftHook hook_of(uint32_t number) {
  for (NftHook hook : {NftHook::prerouting, NftHook::input, NftHook::forward, NftHook::output})
    if (hook_number(hook) == number) return hook;
  return NftHook::postrouting;
}

// Writes the messages of a transaction and remembers which command each belongs to.
class BatchWriter {
 public:
  explicit BatchWriter(const std::string& table) : table_(table) {
    out_.begin(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, next_++);
    out_.header(family_header(AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
    out_.end();
  }

  void add_table() {
    begin(NFT_MSG_NEWTABLE, NLM_F_CREATE, "the table");
    out_.put_text(NFTA_TABLE_NAME, table_);
    out_.end();
  }

  void remove_table() {
    begin(NFT_MSG_DELTABLE, 0, "the table");
    out_.put_text(NFTA_TABLE_NAME, table_);
    out_.end();
  }

  void operator()(const NftBatch::PutChain& c) {
    begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE, "chain " + c.chain.name);
    out_.put_text(NFTA_CHAIN_TABLE, table_);
    out_.put_text(NFTA_CHAIN_NAME, c.chain.name);
    if (c.chain.hook != NftHook::none) {
      size_t hook = out_.nest(NFTA_CHAIN_HOOK);
      out_.put_be32(NFTA_HOOK_HOOKNUM, hook_number(c.chain.hook));
      out_.put_be32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(c.chain.priority));
      out_.close(hook);
      out_.put_text(NFTA_CHAIN_TYPE, c.chain.type == NftChainType::nat ? "nat" : "filter");
    }
    out_.end();
  }

  void operator()(const NftBatch::PutSet& c) {
    begin(NFT_MSG_NEWSET, NLM_F_CREATE, "set " + c.set.name);
    out_.put_text(NFTA_SET_TABLE, table_);
    nft_encode_set(out_, c.set);
    out_.end();
  }

  void operator()(const NftBatch::RemoveChain& c) {
    begin(NFT_MSG_DELCHAIN, 0, "chain " + c.name);
    out_.put_text(NFTA_CHAIN_TABLE, table_);
    out_.put_text(NFTA_CHAIN_NAME, c.name);
    out_.end();
  }

  void operator()(const NftBatch::RemoveSet& c) {
    begin(NFT_MSG_DELSET, 0, "set " + c.name);
    out_.put_text(NFTA_SET_TABLE, table_);
    out_.put_text(NFTA_SET_NAME, c.name);
    out_.end();
  }

  void operator()(const NftBatch::FlushChain& c) {
    begin(NFT_MSG_DELRULE, 0, "the rules of chain " + c.name);
    out_.put_text(NFTA_RULE_TABLE, table_);
    out_.put_text(NFTA_RULE_CHAIN, c.name);
    out_.end();
  }

  void operator()(const NftBatch::FlushSet& c) {
    begin(NFT_MSG_DELSETELEM, 0, "the elements of set " + c.name);
    out_.put_text(NFTA_SET_ELEM_LIST_TABLE, table_);
    out_.put_text(NFTA_SET_ELEM_LIST_SET, c.name);
    out_.end();
  }

  void operator()(const NftBatch::AddRule& c) {
    begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, "a rule of chain " + c.chain + ": " + nft_text(c.rule));
    out_.put_text(NFTA_RULE_TABLE, table_);
    out_.put_text(NFTA_RULE_CHAIN, c.chain);
    nft_encode_rule(out_, c.rule);
    out_.end();
  }

  void operator()(const NftBatch::AddElements& c) { elements(c.set, c.elements, true); }
  void operator()(const NftBatch::RemoveElements& c) { elements(c.set, c.elements, false); }

  const Writer& finish() {
    out_.begin(NFNL_MSG_BATCH_END, NLM_F_REQUEST, next_++);
    out_.header(family_header(AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
    out_.end();
    return out_;
  }

  // What the message with that number was about.
  std::string about(uint32_t sequence) const {
    auto found = about_.upper_bound(sequence);
    return found == about_.begin() ? "the batch" : std::prev(found)->second;
  }

 private:
  void begin(uint16_t message, uint16_t flags, std::string what) {
    about_[next_] = std::move(what);
    out_.begin(nft_type(message), static_cast<uint16_t>(NLM_F_REQUEST | flags), next_++);
    out_.header(family_header(NFPROTO_IPV4));
  }

  void elements(const NftSet& set, const std::vector<NftElement>& list, bool add) {
    size_t at = 0;
    while (at < list.size()) {
      begin(add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, add ? NLM_F_CREATE | NLM_F_EXCL : 0,
            (add ? "add to set " : "remove from set ") + set.name);
      out_.put_text(NFTA_SET_ELEM_LIST_TABLE, table_);
      out_.put_text(NFTA_SET_ELEM_LIST_SET, set.name);
      size_t nest = out_.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
      while (at < list.size() && out_.size() - nest < nft_element_list_bytes_max)
        nft_encode_element(out_, set, list[at++], add);
      out_.close(nest);
      out_.end();
    }
  }

  const std::string& table_;
  Writer out_;
  uint32_t next_ = 1;
  std::map<uint32_t, std::string> about_;
};

class LinuxNft final : public Nft {
 public:
  LinuxNft(std::string table, std::unique_ptr<netlink::Socket> socket)
      : table_(std::move(table)), socket_(std::move(socket)) {}

  Status apply(const NftBatch& batch) override {
    BatchWriter writer(table_);
    writer.add_table();
    for (const NftBatch::Command& command : batch.commands()) std::visit(writer, command);
    return send(writer);
  }

  Status remove_table() override {
    BatchWriter writer(table_);
    writer.add_table();  // so that removing an absent one succeeds
    writer.remove_table();
    return send(writer);
  }

  Result<std::vector<NftChainState>> chains() override {
    std::vector<NftChainState> out;
    DURE_CHECK(dump(NFT_MSG_GETCHAIN, NFTA_CHAIN_TABLE, [&](std::string_view body) {
      if (netlink::find(body, NFTA_CHAIN_TABLE).text() != table_) return;
      out.push_back({read_chain(body), {}});
    }));
    DURE_CHECK(dump(NFT_MSG_GETRULE, NFTA_RULE_TABLE, [&](std::string_view body) {
      if (netlink::find(body, NFTA_RULE_TABLE).text() != table_) return;
      std::string name = netlink::find(body, NFTA_RULE_CHAIN).text();
      for (NftChainState& state : out)
        if (state.chain.name == name) state.rules.push_back(nft_decode_rule_hash(body));
    }));
    return out;
  }

  Result<std::vector<std::string>> sets() override {
    std::vector<std::string> out;
    DURE_CHECK(dump(NFT_MSG_GETSET, NFTA_SET_TABLE, [&](std::string_view body) {
      if (netlink::find(body, NFTA_SET_TABLE).text() != table_) return;
      std::string name = netlink::find(body, NFTA_SET_NAME).text();
      if (!name.starts_with("__")) out.push_back(name);  // anonymous ones
    }));
    return out;
  }

  Result<std::vector<NftElement>> elements(const NftSet& set) override {
    Writer out;
    out.begin(nft_type(NFT_MSG_GETSETELEM), NLM_F_REQUEST | NLM_F_DUMP);
    out.header(family_header(NFPROTO_IPV4));
    out.put_text(NFTA_SET_ELEM_LIST_TABLE, table_);
    out.put_text(NFTA_SET_ELEM_LIST_SET, set.name);
    out.end();
    std::vector<NftElement> found;
    std::lock_guard lock(mutex_);
    DURE_CHECK(socket_->dump("list set " + set.name, out, [&](const Message& m) {
      std::string_view list = netlink::find(m.after<nfgenmsg>(), NFTA_SET_ELEM_LIST_ELEMENTS).data;
      for (const netlink::Attribute& item : netlink::attributes(list))
        found.push_back(nft_decode_element(item.data, set));
    }));
    return found;
  }

 private:
  Status send(BatchWriter& writer) {
    const Writer& bytes = writer.finish();
    std::lock_guard lock(mutex_);
    DURE_TRY(auto failures, socket_->batch("change the nftables table " + table_, bytes));
    if (failures.empty()) return {};
    // Later failures are often only consequences of the first.
    const netlink::Failure& first = failures.front();
    return fail(netlink::error_of("nftables: " + writer.about(first.sequence), first.errno_value, first.text));
  }

  template <class Reader>
  Status dump(uint16_t message, uint16_t table_attribute, Reader reader) {
    Writer out;
    out.begin(nft_type(message), NLM_F_REQUEST | NLM_F_DUMP);
    out.header(family_header(NFPROTO_IPV4));
    out.put_text(table_attribute, table_);
    out.end();
    std::lock_guard lock(mutex_);
    Status done = socket_->dump("read the nftables table", out, [&](const Message& m) { reader(m.after<nfgenmsg>()); });
    if (!done && done.error().is("NotFound")) return {};
    return done;
  }

  static NftChain read_chain(std::string_view body) {
    NftChain chain;
    chain.name = netlink::find(body, NFTA_CHAIN_NAME).text();
    std::string_view hook = netlink::find(body, NFTA_CHAIN_HOOK).data;
    if (hook.empty()) return chain;
    chain.hook = hook_of(netlink::find(hook, NFTA_HOOK_HOOKNUM).be32());
    chain.priority = static_cast<int>(netlink::find(hook, NFTA_HOOK_PRIORITY).be32());
    chain.type = netlink::find(body, NFTA_CHAIN_TYPE).text() == "nat" ? NftChainType::nat : NftChainType::filter;
    return chain;
  }

  std::string table_;
  std::mutex mutex_;
  std::unique_ptr<netlink::Socket> socket_;
};

}  // namespace

Result<std::unique_ptr<Nft>> open_nft(std::string name, const NetNamespace* ns) {
  DURE_TRY(auto socket, netlink::Socket::open(NETLINK_NETFILTER, ns));
  return std::make_unique<LinuxNft>(std::move(name), std::move(socket));
}

}  // namespace dure::kernel
