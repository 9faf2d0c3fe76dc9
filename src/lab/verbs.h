// Verbs: a request that came over the control socket, as a change of the world. The table is also what `dure lab
// --help` is made from.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace dure::lab {

class World;

struct Verb {
  std::string name;
  std::string arguments;  // as a person writes them
  std::string summary;
  size_t words_min = 0, words_max = 0;
};
const std::vector<Verb>& verbs();

// The number of words was checked: "BadRequest" with the verb's form otherwise.
Status check_verb(const std::vector<std::string>& words);
Result<std::string> apply_verb(World& world, const std::vector<std::string>& words);

}  // namespace dure::lab
