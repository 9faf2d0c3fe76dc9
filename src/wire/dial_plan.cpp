#include "wire/dial_plan.h"

#include <algorithm>

#include "base/ip.h"
#include "base/text.h"

namespace dure::wire {
namespace {

constexpr int kUsualPort = 6443;
constexpr size_t kWaysMax = 64;

struct Host {
  std::string name;
  int port = kUsualPort;
};

Host host_of(std::string_view address) {
  if (const auto ip = Ip::parse(address)) return {ip->text(), kUsualPort};
  const size_t colon = address.rfind(':'), bracket = address.rfind(']');
  Host out{std::string(address), kUsualPort};
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    out.port = static_cast<int>(parse_int(address.substr(colon + 1)).value_or(0));
    out.name = address.substr(0, colon);
  }
  if (out.name.starts_with('[') && out.name.ends_with(']')) out.name = out.name.substr(1, out.name.size() - 2);
  return out;
}

}  // namespace

std::string server_address(std::string_view server) {
  if (const size_t scheme = server.find("://"); scheme != std::string_view::npos) server.remove_prefix(scheme + 3);
  const Host host = host_of(server.substr(0, server.find('/')));
  const bool v6 = host.name.find(':') != std::string::npos;
  return (v6 ? "[" + host.name + "]" : host.name) + ":" + std::to_string(host.port);
}

std::string server_url(std::string_view server) {
  const size_t scheme = server.find("://");
  const std::string_view front = scheme == std::string_view::npos ? "https" : server.substr(0, scheme);
  return std::string(front) + "://" + server_address(server);
}

std::string Way::text() const { return proxy ? url + " through the proxy " + proxy->address : url; }

DialPlan::DialPlan(std::vector<std::string> servers, std::string_view proxy, std::string no_proxy, uint64_t seed)
    : given_(std::move(servers)), no_proxy_(std::move(no_proxy)), random_(seed | 1) {
  if (proxy.empty()) return;
  if (auto parsed = parse_proxy(proxy)) proxy_ = std::move(*parsed);
}

void DialPlan::learn(const std::vector<std::string>& servers) { learned_ = servers; }

std::vector<Way> DialPlan::ways() const {
  std::vector<Way> out;
  const auto add = [&](Way way) {
    if (out.size() < kWaysMax && std::find(out.begin(), out.end(), way) == out.end()) out.push_back(std::move(way));
  };
  std::vector<std::string> urls;
  for (const auto* list : {&given_, &learned_})
    for (const std::string& server : *list) urls.push_back(server_url(server));
  if (last_good_ && std::find(urls.begin(), urls.end(), last_good_->url) != urls.end()) add(*last_good_);
  for (const std::string& url : urls) {
    const Host host = host_of(server_address(url));
    if (proxy_ && !bypasses_proxy(no_proxy_, host.name, host.port))
      add({url, proxy_});
    else
      add({url, {}});
  }
  for (const std::string& url : urls) add({url, {}});
  return out;
}

void DialPlan::worked(const Way& way) { last_good_ = way; }

Duration DialPlan::pause() {
  Duration pause = pause_first;
  for (int i = 0; i < failures_ && pause < pause_max; ++i) pause *= 2;
  pause = std::min(pause, pause_max);
  ++failures_;
  // xorshift64
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return pause - pause / 2 * static_cast<int64_t>(random_ % 1000) / 1000;
}

void DialTurns::begin(std::vector<Way> ways) {
  ways_ = std::move(ways);
  next_ = 0;
  std::erase_if(failures_, [&](const auto& entry) {
    return std::none_of(ways_.begin(), ways_.end(), [&](const Way& way) { return way.text() == entry.first; });
  });
}

void DialTurns::add(const std::vector<Way>& ways) {
  for (const Way& way : ways)
    if (std::find(ways_.begin(), ways_.end(), way) == ways_.end()) ways_.push_back(way);
}

DialTurns::Turn DialTurns::next(Monotonic now) {
  const Way& way = ways_[next_++ % ways_.size()];
  const std::string text = way.text();
  const bool fresh = std::any_of(running_.begin(), running_.end(), [&](const Running& running) {
    return running.way == text && now - running.began < again;
  });
  const Duration wait = !all_had_theirs() ? (fresh ? Duration::zero() : head_start) : again;
  if (fresh) return {std::nullopt, wait};
  running_.push_back({text, now});
  return {way, wait};
}

void DialTurns::failed(const Way& way, Error why) {
  const std::string text = way.text();
  const auto over = std::find_if(running_.begin(), running_.end(), [&](const auto& one) { return one.way == text; });
  if (over != running_.end()) running_.erase(over);
  failures_.insert_or_assign(text, std::move(why));
}

std::vector<std::pair<Way, Error>> DialTurns::failures() const {
  std::vector<std::pair<Way, Error>> out;
  for (const Way& way : ways_)
    if (const auto found = failures_.find(way.text()); found != failures_.end()) out.emplace_back(way, found->second);
  return out;
}

}  // namespace dure::wire
