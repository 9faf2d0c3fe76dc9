#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "lab/process.h"
#include "lab/skew.h"
#include "lab/world.h"

namespace dure::lab {
namespace {

Error not_possible(std::string why, std::string remedy = {}) {
  return Error{400, "NotPossible", std::move(why), std::move(remedy)};
}

}  // namespace

Result<Machine*> World::machine(const std::string& name) {
  std::string names;
  for (Machine& one : machines_) {
    if (one.spec().name == name) return &one;
    names += (names.empty() ? "" : ", ") + one.spec().name;
  }
  return fail(Error{404, "NoSuchNode", fmt::format("there is no node \"{}\"; there are {}", name, names)});
}

Result<Machine*> World::running(const std::string& name) {
  DURE_TRY(Machine* const found, machine(name));
  if (!found->on()) return fail(not_possible(name + " is switched off", "dure lab start " + name));
  return found;
}

Status World::known_site(const std::string& name) const {
  if (is_site(name)) return {};
  std::string names;
  for (const SiteSpec& site : spec_.topology.sites) names += (names.empty() ? "" : ", ") + site.name;
  return fail(Error{404, "NoSuchSite", fmt::format("there is no site \"{}\"; there are {}", name, names)});
}

// Two things that a cut between them makes sense for.
Status World::check_cut(const std::string& a, const std::string& b) {
  for (const std::string& name : {a, b})
    if (!name.empty() && !is_site(name) && !machine(name))
      return fail(
          Error{404, "NoSuchSite", fmt::format("there is neither a site nor a node \"{}\"", name), "dure lab status"});
  if (a == b) return fail(not_possible(a + " cannot be cut off from itself"));
  if (b.empty() || (is_site(a) && is_site(b))) return {};
  const bool mixed = is_site(a) != is_site(b);
  const std::string &node = is_site(a) ? b : a, &other = is_site(a) ? a : b;
  const std::string& site = network_.port(node).site;
  if (mixed && site == other) return fail(not_possible(node + " stands in " + other, "dure lab cut " + node));
  if (!mixed && site != network_.port(other).site)
    return fail(not_possible(
        fmt::format("{} and {} stand in different sites, where their packets carry the routers' addresses", a, b),
        fmt::format("dure lab cut {} {}", node, network_.port(other).site)));
  return {};
}

Result<std::string> World::unplug(const std::string& node, bool plugged) {
  DURE_TRY([[maybe_unused]] Machine* const found, running(node));
  if (network_.port(node).plugged == plugged)
    return fmt::format("{} is {} already", node, plugged ? "plugged in" : "unplugged");
  DURE_CHECK(set_plugged(*found, plugged));
  return fmt::format("{}: its network cable is {}", node, plugged ? "plugged in" : "pulled");
}

Result<std::string> World::cut(const std::string& a, const std::string& b) {
  DURE_CHECK(check_cut(a, b));
  if (b.empty() && !is_site(a)) return unplug(a, false);
  // A site comes first: the same pair has one form.
  const Network::CutNames wanted =
      !is_site(a) && is_site(b) ? Network::CutNames{a, b} : Network::CutNames{std::min(a, b), std::max(a, b)};
  const Network::CutNames entry = b.empty() ? Network::CutNames{a, ""} : wanted;
  auto cuts = network_.cuts();
  if (std::find(cuts.begin(), cuts.end(), entry) != cuts.end())
    return b.empty() ? a + " is cut off already" : fmt::format("{} and {} are cut already", a, b);
  cuts.push_back(entry);
  DURE_CHECK(network_.set_cuts(cuts));
  return b.empty() ? a + " is cut off from the internet; inside it everything goes on"
                   : fmt::format("nothing passes between {} and {}", a, b);
}

Result<std::string> World::heal(const std::string& a, const std::string& b) {
  if (!a.empty()) DURE_CHECK(check_cut(a, b));
  if (!a.empty() && b.empty() && !is_site(a)) return unplug(a, true);
  std::vector<Network::CutNames> cuts;
  for (const Network::CutNames& cut : network_.cuts())
    if (!a.empty() && !(cut.a == a && cut.b == b) && !(cut.a == b && cut.b == a)) cuts.push_back(cut);
  size_t healed = network_.cuts().size() - cuts.size();
  if (healed > 0) DURE_CHECK(network_.set_cuts(cuts));
  if (a.empty())
    for (Machine& one : machines_)
      if (!network_.port(one.spec().name).plugged && one.on() && !one.frozen()) {
        DURE_CHECK(set_plugged(one, true));
        ++healed;
      }
  if (healed == 0) return std::string("nothing was cut");
  return healed == 1 ? std::string("one cut is healed") : fmt::format("{} cuts are healed", healed);
}

Result<std::string> World::roam(const std::string& node, const std::string& site) {
  DURE_TRY(Machine* const moving, running(node));
  DURE_CHECK(known_site(site));
  const std::string from = network_.port(node).site;
  if (from == site) return fmt::format("{} is in {} already, with address {}", node, site, network_.port(node).address);
  if (!network_.port(node).plugged) return fail(not_possible(node + " is unplugged", "dure lab heal " + node));
  if (moving->frozen()) return fail(not_possible(node + " is frozen", "dure lab thaw " + node));
  if (moving->vm()) DURE_CHECK(moving->set_carrier(false));
  DURE_TRY(const std::string address, network_.roam(node, moving->pid(), site));
  if (moving->vm()) {
    DURE_CHECK(moving->set_carrier(true));
    DURE_CHECK(moving->set_address(network_.plug(node)));
  }
  return fmt::format("{} went from {} to {} and has address {} there", node, from, site, address);
}

Result<std::string> World::link(const std::string& site, const std::vector<std::string>& parts) {
  DURE_CHECK(known_site(site));
  Cable cable = network_.site(site).cable;
  for (const std::string& part : parts) {
    const size_t at = part.find('=');
    if (part == "plain")
      cable = Cable{};
    else if (at == std::string::npos)
      return fail(
          bad_request(fmt::format("\"{}\" is not a part of a cable; write it like delay=30ms, or plain", part)));
    else
      DURE_CHECK(set_cable_part(cable, part.substr(0, at), part.substr(at + 1)));
  }
  if (cable != network_.site(site).cable) DURE_CHECK(network_.set_cable(site, cable));
  return fmt::format("the cable of {}: {}", site, cable.text());
}

Result<std::string> World::kill_service(const std::string& node, const std::string& what) {
  DURE_TRY(Machine* const found, machine(node));
  if (what == "power") {
    if (!found->on()) return node + " is off already";
    const bool door = found->spec().server;
    // The cable first: the kernel answers pings for a namespace until it has taken it away.
    DURE_CHECK(network_.set_plugged(node, false));
    found->switch_off();
    if (door && door_pid_ > 0) {
      kill(door_pid_, SIGKILL);
      wait_for(std::exchange(door_pid_, 0));
    }
    return fmt::format("{} is off, as if its plug was pulled", node);
  }
  if (what != "agent" && what != "server" && what != "containerd")
    return fail(
        bad_request(fmt::format("\"{}\" cannot be killed; there are agent, server, containerd and power", what)));
  DURE_TRY(Machine* const on, running(node));
  const std::string service = what == "containerd" ? what : "dure-" + what;
  if (!on->has_service(service)) return fail(not_possible(fmt::format("{} runs no {}", node, what)));
  on->send_signal(service, SIGKILL);
  return fmt::format("{}: {} is killed; it starts again in a second", node, what);
}

Result<std::string> World::start(const std::string& node) {
  DURE_TRY(Machine* const found, machine(node));
  if (found->on()) return node + " is on already";
  DURE_CHECK(switch_on(*found));
  DURE_CHECK(network_.set_plugged(node, true));
  if (found->vm()) found->write_hosts(hosts());  // its disk kept those of yesterday
  found->start_services();
  DURE_CHECK(found->await_containerd());
  if (found->spec().server) DURE_CHECK(open_door());
  return fmt::format("{} is on", node);
}

Result<std::string> World::freeze(const std::string& node, bool frozen) {
  DURE_TRY(Machine* const found, running(node));
  if (found->frozen() == frozen) return fmt::format("{} is {} already", node, frozen ? "frozen" : "awake");
  // The kernel of a frozen node would still answer pings: a lid that is closed takes the link down too.
  if (frozen) DURE_CHECK(set_plugged(*found, false));
  DURE_CHECK(found->freeze(frozen));
  if (!frozen) DURE_CHECK(set_plugged(*found, true));
  if (!frozen && found->vm()) found->write_hosts(hosts());
  return fmt::format("{} {}", node, frozen ? "sleeps, as with its lid closed" : "is awake again");
}

Result<std::string> World::renumber(const std::string& site) {
  DURE_CHECK(known_site(site));
  DURE_TRY(const std::string address, network_.renumber(site));
  for (const Machine& one : machines_)
    if (one.on()) one.write_hosts(hosts());
  return fmt::format("{} has public address {} now; its router forgot every connection, and {} leads there", site,
                     address, site_host(site));
}

Result<std::string> World::reboot(const std::string& site) {
  DURE_CHECK(known_site(site));
  DURE_CHECK(network_.reboot(site));
  return fmt::format("the router of {} forgot every connection and mapping", site);
}

Result<std::string> World::skew(const std::string& node, const std::string& by) {
  DURE_TRY(Machine* const found, running(node));
  if (found->spec().kind == NodeKind::systemd)
    return fail(not_possible(node + " is of kind systemd: its own root has no libfaketime", "skew a node of kind ns"));
  if (found->vm()) {
    DURE_TRY(const Duration ahead, skew_time(by));
    DURE_CHECK(found->set_clock(ahead));
    found->skew = ahead == Duration::zero() ? "" : by;
    return found->skew.empty() ? node + ": its clock is right again" : fmt::format("{}: its clock is {} off", node, by);
  }
  DURE_TRY(const auto environment, skewed_environment(by));
  std::vector<std::string> pairs;
  for (const auto& [name, value] : environment) pairs.push_back(name + "=" + value);
  found->skew = pairs.empty() ? "" : by;
  found->set_environment(pairs);
  return pairs.empty() ? fmt::format("{}: its clock is right again; server and agent start anew", node)
                       : fmt::format("{}: server and agent start anew with a clock {} off", node, by);
}

}  // namespace dure::lab
