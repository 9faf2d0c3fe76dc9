#include "overlay/ipam.h"

#include <algorithm>
#include <thread>

#include "base/text.h"
#include "base/time.h"

namespace dure::overlay {

namespace {

constexpr auto lock_time_max = 10s;
constexpr auto lock_step = 5ms;
constexpr const char* last_name = "last_reserved_ip.0";

std::string text_of(const Attachment& attachment) { return attachment.container_id + "\r\n" + attachment.interface; }

Attachment parse_attachment(std::string_view text) {
  size_t end = text.find("\r\n");
  if (end == text.npos) return {std::string(trim(text)), ""};
  return {std::string(text.substr(0, end)), std::string(trim(text.substr(end + 2)))};
}

}  // namespace

AddressPool::AddressPool(os::Disk& disk, std::string folder, IpPrefix subnet)
    : disk_(disk), folder_(std::move(folder)), subnet_(subnet.network()) {}

Ip AddressPool::gateway() const { return Ip::v4(subnet_.ip.v4() + 1); }

Result<std::unique_ptr<os::FileLock>> AddressPool::lock() {
  DURE_CHECK(disk_.make_directories(folder_, 0755));
  for (auto waited = Duration::zero();; waited += lock_step) {
    auto held = disk_.lock(folder_ + "/lock");
    if (held || !held.error().is("FileLocked") || waited >= lock_time_max) return held;
    std::this_thread::sleep_for(lock_step);
  }
}

Result<std::vector<std::pair<Attachment, Ip>>> AddressPool::read() {
  DURE_TRY(std::vector<std::string> names, disk_.list(folder_));
  std::vector<std::pair<Attachment, Ip>> out;
  for (const std::string& name : names) {
    auto ip = Ip::parse(name);
    if (!ip) continue;
    DURE_TRY(std::string text, os::read_file(disk_, folder_ + "/" + name));
    out.emplace_back(parse_attachment(text), *ip);
  }
  return out;
}

std::optional<uint32_t> AddressPool::next_free(const std::set<Ip>& used, std::optional<Ip> wanted) const {
  const uint32_t first = subnet_.ip.v4() + 2;
  const uint32_t end = subnet_.ip.v4() + (subnet_.length == 0 ? 0 : uint32_t{1} << (32 - subnet_.length)) - 1;
  auto is_free = [&](const Ip& ip) { return !ip.v6 && ip.v4() >= first && ip.v4() < end && !used.contains(ip); };
  if (wanted && is_free(*wanted)) return wanted->v4();
  uint32_t next = first;
  if (auto last = os::read_file(disk_, folder_ + "/" + last_name))
    if (auto ip = Ip::parse(trim(*last)); ip && !ip->v6 && ip->v4() >= first && ip->v4() + 1 < end) next = ip->v4() + 1;
  for (uint32_t tries = 0; first < end && tries < end - first; ++tries, ++next) {
    if (next >= end) next = first;
    if (is_free(Ip::v4(next))) return next;
  }
  return {};
}

Result<Ip> AddressPool::take(const Attachment& attachment, std::optional<Ip> wanted) {
  DURE_TRY(auto held, lock());
  DURE_TRY(auto taken, read());
  std::set<Ip> used;
  for (auto& [owner, ip] : taken) {
    if (owner == attachment && subnet_.contains(ip)) return ip;
    used.insert(ip);
  }
  const auto free = next_free(used, wanted);
  if (!free)
    return fail(
        Error{500, "PodAddressesExhausted",
              "all " + std::to_string(used.size()) + " pod addresses of " + subnet_.text() + " are in use",
              "run fewer pods on this node, or give nodes a shorter mask than /" + std::to_string(subnet_.length)});
  const Ip ip = Ip::v4(*free);
  DURE_CHECK(os::write_file_atomic(disk_, path_of(ip), text_of(attachment), 0644));
  DURE_CHECK(os::write_file_atomic(disk_, folder_ + "/" + last_name, ip.text(), 0644));
  return ip;
}

Result<std::optional<Ip>> AddressPool::find(const Attachment& attachment) {
  DURE_TRY(auto held, lock());
  DURE_TRY(auto taken, read());
  for (auto& [owner, ip] : taken)
    if (owner == attachment) return ip;
  return std::nullopt;
}

Result<std::vector<Ip>> AddressPool::release(const Attachment& attachment) {
  DURE_TRY(auto held, lock());
  DURE_TRY(auto taken, read());
  std::vector<Ip> out;
  for (auto& [owner, ip] : taken) {
    if (owner != attachment) continue;
    DURE_CHECK(disk_.remove(path_of(ip)));
    out.push_back(ip);
  }
  return out;
}

Result<std::vector<std::pair<Attachment, Ip>>> AddressPool::list() {
  DURE_TRY(auto held, lock());
  return read();
}

}  // namespace dure::overlay
