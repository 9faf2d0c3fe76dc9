#include "lab/verbs.h"

#include <fmt/format.h>

#include "lab/world.h"

namespace dure::lab {

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table{
      {"cut", "SITE|NODE [SITE|NODE]", "Let nothing pass: to and from one, or between two", 1, 2},
      {"heal", "[SITE|NODE [SITE|NODE]]", "Undo a cut; alone: all of them", 0, 2},
      {"roam", "NODE SITE", "Carry a node into another site: same device, another address", 2, 2},
      {"link", "SITE delay=30ms jitter=5ms loss=1% rate=20mbit mtu=1400", "Change a site's cable; plain: a perfect one",
       1, 8},
      {"kill", "NODE agent|server|containerd|power", "Kill a service (it starts again), or pull the plug", 2, 2},
      {"start", "NODE", "Switch on a node that is off", 1, 1},
      {"freeze", "NODE", "Let a node sleep, as with its lid closed", 1, 1},
      {"thaw", "NODE", "Wake it again", 1, 1},
      {"renumber", "SITE", "Give a site another public address, as providers do", 1, 1},
      {"reboot", "SITE", "Let a site's router forget every connection", 1, 1},
      {"skew", "NODE +2h|-90s|0", "Put a node's clock wrong", 2, 2}};
  return table;
}

Status check_verb(const std::vector<std::string>& words) {
  for (const Verb& verb : verbs()) {
    if (words.empty() || verb.name != words[0]) continue;
    if (words.size() - 1 >= verb.words_min && words.size() - 1 <= verb.words_max) return {};
    return fail(bad_request(fmt::format("write it like: dure lab {} {}", verb.name, verb.arguments)));
  }
  return fail(bad_request("there is no such verb; see dure lab --help"));
}

Result<std::string> apply_verb(World& world, const std::vector<std::string>& words) {
  DURE_CHECK(check_verb(words));
  auto word = [&](size_t i) { return i < words.size() ? words[i] : std::string(); };
  const std::string& verb = words[0];
  if (verb == "cut") return world.cut(word(1), word(2));
  if (verb == "heal") return world.heal(word(1), word(2));
  if (verb == "roam") return world.roam(word(1), word(2));
  if (verb == "link") return world.link(word(1), {words.begin() + 2, words.end()});
  if (verb == "kill") return world.kill_service(word(1), word(2));
  if (verb == "start") return world.start(word(1));
  if (verb == "freeze" || verb == "thaw") return world.freeze(word(1), verb == "freeze");
  if (verb == "renumber") return world.renumber(word(1));
  if (verb == "reboot") return world.reboot(word(1));
  return world.skew(word(1), word(2));
}

}  // namespace dure::lab
