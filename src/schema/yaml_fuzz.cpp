// YAML: what is accepted and written reads back the same.
#include <cstdlib>

#include "schema/yaml.h"

using namespace dure;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::string_view part : schema::split_yaml(text)) (void)part.size();
  auto first = schema::decode_yaml(text);
  if (!first) return 0;
  std::string out;
  schema::encode_yaml(*first, out);
  auto second = schema::decode_yaml(out);
  if (!second || !schema::equal(first->root(), second->root())) std::abort();
  return 0;
}
