#include "svcproxy/proxy.h"

#include <algorithm>

#include "base/log.h"

namespace dure::svcproxy {

using namespace kernel;

namespace {

void diff_elements(NftBatch& batch, const NftSet& set, const ElementMap& before, const ElementMap& after) {
  std::vector<NftElement> remove, add;
  for (const auto& [key, element] : before)
    if (auto kept = after.find(key); kept == after.end() || kept->second != element) remove.push_back(element);
  for (const auto& [key, element] : after)
    if (auto had = before.find(key); had == before.end() || had->second != element) add.push_back(element);
  batch.remove_elements(set, std::move(remove));
  batch.add_elements(set, std::move(add));
}

void diff_all(NftBatch& batch, const Elements& before, const Elements& after) {
  for (int id = 0; id < set_count; ++id)
    diff_elements(batch, set_of(static_cast<SetId>(id)), before.sets[id], after.sets[id]);
}

Result<ElementMap> read_elements(Nft& nft, const NftSet& set) {
  ElementMap out;
  auto found = nft.elements(set);
  if (!found && found.error().is("NotFound")) return out;
  if (!found) return fail(found.error());
  for (NftElement& element : *found) out.emplace(element.key, std::move(element));
  return out;
}

ElementMap hairpin_elements(const std::map<std::string, uint32_t>& counted) {
  ElementMap out;
  for (const auto& [key, count] : counted) out.emplace(key, NftElement{.key = key});
  return out;
}

// The chains that name numbers of endpoints, made anew.
void rebuild_chains(NftBatch& batch, const Shapes& shapes, const TableOptions& options) {
  for (const NamedChain& named : chains_of(options, shapes)) {
    batch.flush_chain(named.chain.name);
    for (const NftRule& rule : named.rules) batch.add_rule(named.chain.name, rule);
  }
}

// All chains that are wanted; what is there beyond them is taken away.
void sync_chains(NftBatch& batch, NftBatch& cleanup, const std::vector<NftChainState>& now, const Shapes& shapes,
                 const TableOptions& options) {
  std::set<std::string> names;
  for (const NamedChain& named : chains_of(options, shapes)) {
    names.insert(named.chain.name);
    nft_sync_chain(batch, now, named.chain, named.rules);
  }
  std::vector<std::string> surplus;
  for (const NftChainState& state : now)
    if (state.chain.name.starts_with("svcproxy-") && !names.contains(state.chain.name))
      surplus.push_back(state.chain.name);
  for (const std::string& name : surplus) cleanup.flush_chain(name);
  for (const std::string& name : surplus) cleanup.remove_chain(name);
}

const Target* target_at(const ServiceRules& rules, const Frontend& frontend) {
  auto found = std::ranges::lower_bound(rules, frontend, {}, &Rule::frontend);
  return found != rules.end() && found->frontend == frontend ? &found->target : nullptr;
}

std::vector<Endpoint> everybody(const Target* target) {
  std::vector<Endpoint> out;
  if (!target) return out;
  out = target->endpoints;
  out.insert(out.end(), target->inside.begin(), target->inside.end());
  return out;
}

bool contains(const std::vector<Endpoint>& list, uint32_t ip, uint16_t port) {
  return std::ranges::any_of(list, [&](const Endpoint& e) { return e.ip == ip && e.port == port; });
}

std::vector<Endpoint> endpoints_gone(const Target& before, const Target* after) {
  std::vector<Endpoint> still = everybody(after), out;
  for (const Endpoint& old : everybody(&before))
    if (!contains(still, old.ip, old.port)) out.push_back(old);
  return out;
}

}  // namespace

Status Proxy::sync_all(const AllRules& rules) {
  synced_ = false;
  applied_.clear(), holders_.clear(), losers_.clear(), hairpins_.clear(), shapes_ = {};
  Elements wanted;
  for (const auto& [service, own] : rules) {
    ServiceRules claimed;
    for (const Rule& rule : own)
      if (holders_.try_emplace(rule.frontend, service).first->second == service) claimed.push_back(rule);
    if (claimed.size() < own.size()) losers_.insert(service);
    for (const Rule& rule : claimed) add_rule(rule, wanted, shapes_);
    if (!claimed.empty()) applied_.emplace(service, std::move(claimed));
  }
  for (const auto& [key, count] : wanted.hairpins) hairpins_[key] = count;

  Elements present;
  for (int id = 0; id < set_count; ++id) {
    DURE_TRY(present.sets[id], read_elements(nft_, set_of(static_cast<SetId>(id))));
  }
  DURE_TRY(ElementMap hairpins, read_elements(nft_, hairpin_set));
  DURE_TRY(auto chains, nft_.chains());
  NftBatch batch, cleanup;
  for (int id = 0; id < set_count; ++id) batch.put_set(set_of(static_cast<SetId>(id)));
  batch.put_set(affinity_map).put_set(hairpin_set);
  sync_chains(batch, cleanup, chains, shapes_, options_.table);
  diff_all(batch, present, wanted);
  diff_elements(batch, hairpin_set, hairpins, hairpin_elements(wanted.hairpins));
  if (Status done = nft_.apply(batch); !done) {
    // A list that was read while the kernel resized the set may have missed elements: put everything anew, in one
    // transaction.
    log(LogLevel::warn, "svcproxy", "repair was refused, writing all rules anew", {{"error", done.error().message}});
    NftBatch anew;
    for (int id = 0; id < set_count; ++id)
      anew.put_set(set_of(static_cast<SetId>(id))).flush_set(set_of(static_cast<SetId>(id)).name);
    anew.put_set(affinity_map).put_set(hairpin_set).flush_set(hairpin_set.name);
    sync_chains(anew, cleanup = {}, chains, shapes_, options_.table);
    diff_all(anew, {}, wanted);
    diff_elements(anew, hairpin_set, {}, hairpin_elements(wanted.hairpins));
    DURE_CHECK(nft_.apply(anew));
  }
  if (!cleanup.empty()) DURE_CHECK(nft_.apply(cleanup));
  synced_ = true;
  return {};
}

ServiceRules Proxy::claim(const std::string& service, const ServiceRules& rules,
                          const std::function<ServiceRules(const std::string&)>& rules_of) {
  ServiceRules out;
  for (const Rule& rule : rules) {
    auto held = holders_.find(rule.frontend);
    if (held != holders_.end() && held->second != service && rules_of) {
      // The other one may have given it up, only its own turn has not come yet.
      std::string other = held->second;
      (void)sync(other, rules_of(other));
      held = holders_.find(rule.frontend);
    }
    if (held == holders_.end() || held->second == service) out.push_back(rule);
  }
  losers_.erase(service);
  if (out.size() < rules.size()) losers_.insert(service);
  return out;
}

Status Proxy::sync(const std::string& service, const ServiceRules& rules,
                   const std::function<ServiceRules(const std::string&)>& rules_of) {
  ServiceRules after = claim(service, rules, rules_of);
  auto found = applied_.find(service);
  ServiceRules before = found == applied_.end() ? ServiceRules{} : found->second;
  if (before == after) return {};
  if (Status done = apply(service, before, after); !done) {
    synced_ = false;  // somebody else changed our table: the next sync_all repairs it
    return done;
  }
  for (const Rule& rule : before) holders_.erase(rule.frontend);
  for (const Rule& rule : after) holders_[rule.frontend] = service;
  if (after.empty())
    applied_.erase(service);
  else
    applied_[service] = after;
  forget_clients(before, after);
  forget_flows(before, after);
  const auto given_up = [&](const Rule& rule) { return !target_at(after, rule.frontend); };
  if (rules_of && std::ranges::any_of(before, given_up))
    for (const std::string& other : std::set(losers_))
      if (other != service) (void)sync(other, rules_of(other));  // a failure is the next sync_all's
  return {};
}

void Proxy::count_hairpins(NftBatch& batch, const std::map<std::string, uint32_t>& before,
                           const std::map<std::string, uint32_t>& after) {
  std::set<std::string> touched;
  std::map<std::string, bool> had;
  for (const auto* side : {&before, &after})
    for (const auto& [key, count] : *side) touched.insert(key), had.try_emplace(key, hairpins_.contains(key));
  std::vector<NftElement> remove, add;
  for (const std::string& key : touched) {
    uint32_t minus = before.contains(key) ? before.at(key) : 0, plus = after.contains(key) ? after.at(key) : 0;
    uint32_t count = (had[key] ? hairpins_[key] : 0) - minus + plus;
    if (count == 0) {
      hairpins_.erase(key);
      if (had[key]) remove.push_back({.key = key});
    } else {
      hairpins_[key] = count;
      if (!had[key]) add.push_back({.key = key});
    }
  }
  batch.remove_elements(hairpin_set, std::move(remove));
  batch.add_elements(hairpin_set, std::move(add));
}

Status Proxy::apply(const std::string& service, const ServiceRules& before, const ServiceRules& after) {
  Elements old_elements, new_elements;
  Shapes old_shapes, new_shapes;
  for (const Rule& rule : before) {
    const Target* kept = target_at(after, rule.frontend);
    if (!kept || *kept != rule.target) add_rule(rule, old_elements, old_shapes);
  }
  for (const Rule& rule : after) {
    const Target* had = target_at(before, rule.frontend);
    if (!had || *had != rule.target) add_rule(rule, new_elements, new_shapes);
  }
  NftBatch batch;
  Shapes shapes = shapes_;
  shapes.merge(new_shapes);
  if (!shapes_.contains(new_shapes)) rebuild_chains(batch, shapes, options_.table);
  diff_all(batch, old_elements, new_elements);
  auto hairpins_before = hairpins_;
  count_hairpins(batch, old_elements.hairpins, new_elements.hairpins);
  if (Status done = nft_.apply(batch); !done) {
    hairpins_ = std::move(hairpins_before);
    return fail(std::move(done.error()).with_context("rules of service " + service));
  }
  shapes_ = std::move(shapes);
  return {};
}

// Clients that stick to an endpoint that is gone choose anew.
void Proxy::forget_clients(const ServiceRules& before, const ServiceRules& after) {
  std::map<std::string, std::vector<Endpoint>> gone;
  for (const Rule& rule : before) {
    if (!rule.target.affinity_seconds) continue;
    const Target* now = target_at(after, rule.frontend);
    auto lost = endpoints_gone(rule.target, now && now->affinity_seconds ? now : nullptr);
    if (!lost.empty()) gone.emplace(frontend_key(rule.frontend), std::move(lost));
  }
  if (gone.empty()) return;
  auto all = nft_.elements(affinity_map);
  if (!all) return;
  for (const NftElement& element : *all) {
    auto lost = gone.find(element.key.substr(4));  // behind the client's address
    if (lost == gone.end()) continue;
    auto data = nft_split(element.data, affinity_map.data);
    auto port = static_cast<uint16_t>(static_cast<uint8_t>(data[1][0]) << 8 | static_cast<uint8_t>(data[1][1]));
    if (!contains(lost->second, Ip::from_raw(data[0]).v4(), port)) continue;
    // One by one: an element may time out at any moment, which would refuse a whole batch.
    (void)nft_.apply(NftBatch().remove_elements(affinity_map, {element}));
  }
}

// UDP clients that keep their port would stay with an endpoint that is gone, or with nobody.
void Proxy::forget_flows(const ServiceRules& before, const ServiceRules& after) {
  if (!conntrack_) return;
  struct Stale {
    std::vector<Endpoint> gone;
    bool was_empty = false;
  };
  std::map<Frontend, Stale> stale;
  for (const Rule& rule : before)
    if (rule.frontend.protocol == nft_udp)
      if (auto gone = endpoints_gone(rule.target, target_at(after, rule.frontend)); !gone.empty())
        stale[rule.frontend].gone = std::move(gone);
  for (const Rule& rule : after) {
    if (rule.frontend.protocol != nft_udp || everybody(&rule.target).empty()) continue;
    const Target* had = target_at(before, rule.frontend);
    if (everybody(had).empty()) stale[rule.frontend].was_empty = true;
  }
  if (stale.empty()) return;
  auto doomed = [&](const Flow& flow) {
    for (uint32_t ip : {flow.destination.v4(), uint32_t{0}}) {
      auto found = stale.find({ip, flow.destination_port, nft_udp});
      if (found == stale.end()) continue;
      if (contains(found->second.gone, flow.reply_source.v4(), flow.reply_source_port)) return true;
      if (found->second.was_empty && flow.reply_source == flow.destination) return true;
    }
    return false;
  };
  auto removed = conntrack_->remove(nft_udp, doomed);
  if (!removed)
    log(LogLevel::warn, "svcproxy", "old UDP flows could not be removed", {{"error", removed.error().message}});
}

Status Proxy::remove_all() {
  synced_ = false;
  DURE_TRY(auto chains, nft_.chains());
  DURE_TRY(auto sets, nft_.sets());
  NftBatch batch;
  for (const NftChainState& state : chains)
    if (state.chain.name.starts_with("svcproxy-")) batch.flush_chain(state.chain.name);
  for (const std::string& name : sets)
    if (name.starts_with("svcproxy-")) batch.flush_set(name).remove_set(name);
  for (const NftChainState& state : chains)
    if (state.chain.name.starts_with("svcproxy-")) batch.remove_chain(state.chain.name);
  return batch.empty() ? Status{} : nft_.apply(batch);
}

}  // namespace dure::svcproxy
