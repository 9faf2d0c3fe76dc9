#include "bootstrap/fingerprint.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "bootstrap/checks/virtualization.h"
#include "bootstrap/journal.h"
#include "kernel/links.h"
#include "os/disk.h"
#include "pki/certificate.h"
#include "pki/key.h"

namespace dure::bootstrap {
namespace {

constexpr size_t hash_digits = 32, text_bytes_max = 2048, macs_max = 16;

// Seen in the wild on many boards and hypervisor templates.
constexpr std::array<std::string_view, 5> shared_uuids = {
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc"};

std::string keyed(std::string_view ca_pin, std::string_view what, std::string_view value) {
  return pki::hmac_sha256(ca_pin, std::string("dure.dev/machine ") + std::string(what) + " " + std::string(value));
}

std::string shown(const std::string& raw) { return hex_encode(raw).substr(0, hash_digits); }

std::string hashed(std::string_view ca_pin, std::string_view what, std::string_view value) {
  return value.empty() ? std::string() : shown(keyed(ca_pin, what, value));
}

std::string read_line(os::Disk& disk, const std::string& path) {
  const auto text = os::read_file(disk, path, 4096);
  return text ? lower(trim(*text)) : std::string();
}

bool is_hash(std::string_view text) {
  return text.size() == hash_digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::vector<Mac> real_macs(kernel::Links& links, const std::set<std::string>& own_links) {
  std::vector<Mac> out;
  const auto all = links.list();
  if (!all) return out;
  const auto uplink = kernel::find_uplink(links, Ip::v4(0xc0000201));  // 192.0.2.1: whatever is not here
  for (const kernel::Link& link : *all) {
    const bool leaves_by = uplink && uplink->link.index == link.index;
    if (link.loopback || link.mac.is_zero() || own_links.contains(link.name) || (!link.kind.empty() && !leaves_by))
      continue;
    if (std::ranges::find(out, link.mac) == out.end()) out.push_back(link.mac);
  }
  std::ranges::sort(out);
  if (out.size() > macs_max) out.resize(macs_max);
  return out;
}

}  // namespace

MachineIdentity read_machine_identity(kernel::Links& links, os::Disk& disk, const std::set<std::string>& own_links) {
  MachineIdentity out;
  out.machine_id = read_line(disk, "/etc/machine-id");
  if (out.machine_id == "uninitialized") out.machine_id.clear();
  out.product_uuid = read_line(disk, "/sys/class/dmi/id/product_uuid");
  out.host_name = read_line(disk, "/proc/sys/kernel/hostname");
  out.macs = real_macs(links, own_links);
  out.is_container = read_virtualization(disk).container;
  return out;
}

Fingerprint fingerprint_of(const MachineIdentity& machine, std::string_view ca_pin) {
  Fingerprint out;
  const std::string proof = machine_proof(machine, ca_pin);
  if (!proof.empty()) out.id = id_of_proof(proof);
  if (!machine.is_container && std::ranges::find(shared_uuids, machine.product_uuid) == shared_uuids.end())
    out.uuid = hashed(ca_pin, "uuid", machine.product_uuid);
  out.host = hashed(ca_pin, "host", machine.host_name);
  for (const Mac& mac : machine.macs) out.macs.push_back(hashed(ca_pin, "mac", mac.text()));
  return out;
}

std::string machine_proof(const MachineIdentity& machine, std::string_view ca_pin) {
  return machine.machine_id.empty() ? std::string() : hex_encode(keyed(ca_pin, "id", machine.machine_id));
}

std::string id_of_proof(std::string_view proof) { return shown(pki::sha256(proof)); }

Result<MachineClaim> read_machine_claim(os::Disk& disk, const Places& places, std::string_view ca_pem) {
  DURE_TRY(const pki::Certificate ca, pki::Certificate::from_pem(ca_pem));
  const std::string pin = ca.public_key().pin();
  DURE_TRY(const auto links, kernel::open_links());
  const MachineIdentity machine = read_machine_identity(*links, disk, own_links(disk, places));
  return MachineClaim{fingerprint_text(fingerprint_of(machine, pin)), machine_proof(machine, pin)};
}

std::string fingerprint_text(const Fingerprint& fingerprint) {
  std::string out;
  const auto add = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) out += (out.empty() ? "" : " ") + std::string(key) + "=" + value;
  };
  add("id", fingerprint.id);
  add("uuid", fingerprint.uuid);
  add("host", fingerprint.host);
  for (const std::string& mac : fingerprint.macs) add("mac", mac);
  return out;
}

Result<Fingerprint> parse_fingerprint(std::string_view text) {
  if (text.size() > text_bytes_max) return fail(bad_request("a machine's fingerprint has at most 2 KB"));
  Fingerprint out;
  for (const std::string_view word : split(text, ' ')) {
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = word.substr(0, equals), value = word.substr(equals + 1);
    if (key != "id" && key != "uuid" && key != "host" && key != "mac") continue;
    if (!is_hash(value)) return fail(bad_request("a machine's fingerprint holds a value that is no hash"));
    if (key == "id") out.id = value;
    if (key == "uuid") out.uuid = value;
    if (key == "host") out.host = value;
    if (key == "mac" && out.macs.size() < macs_max) out.macs.emplace_back(value);
  }
  return out;
}

}  // namespace dure::bootstrap
