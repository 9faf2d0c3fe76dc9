// Protobuf: bytes that are accepted become an object whose own bytes are a fixed point and whose
// JSON reads back the same.
#include <cstdlib>

#include "kinds/kinds.h"
#include "schema/json.h"
#include "schema/proto.h"

using namespace dure;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const auto types = kinds::kinds();
  const schema::Type& type = *types[data[0] % types.size()];
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  (void)schema::open_envelope(bytes);
  auto first = schema::decode_message(SharedBytes(bytes), type);
  if (!first) return 0;
  std::string once, twice;
  schema::encode_message(*first, once);
  auto second = schema::decode_message(SharedBytes(once), type);
  if (!second) std::abort();
  schema::encode_message(*second, twice);
  if (once != twice || !schema::equal(first->root(), second->root())) std::abort();
  auto from_json = schema::decode_json(SharedBytes(schema::to_json(*first)), type);
  if (!from_json || schema::to_json(*from_json) != schema::to_json(*second)) std::abort();
  return 0;
}
