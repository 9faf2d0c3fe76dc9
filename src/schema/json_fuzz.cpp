// JSON: whatever is accepted, written and read again is the same, typed and untyped; canonical text
// is a fixed point.
#include <cstdlib>

#include "kinds/kinds.h"
#include "schema/defaults.h"
#include "schema/json.h"
#include "schema/validate.h"

using namespace dure;

namespace {
void check(const Result<schema::Document>& first, const schema::Type* type) {
  if (!first) return;
  const std::string text = schema::to_json(*first);
  auto second = type ? schema::decode_json(SharedBytes(text), *type, {.strictness = schema::Strictness::strict})
                     : schema::decode_json(SharedBytes(text));
  if (!second || schema::to_json(*second) != text || !schema::equal(first->root(), second->root())) std::abort();
  schema::Document copy = first->clone();
  if (schema::to_json(copy) != text) std::abort();
  if (!type) return;
  schema::apply_defaults(copy);
  const std::string once = schema::to_json(copy);
  schema::apply_defaults(copy);
  if (schema::to_json(copy) != once) std::abort();
  schema::validate(copy, &*first);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const auto types = kinds::kinds();
  const SharedBytes input(std::string(reinterpret_cast<const char*>(data + 1), size - 1));
  check(schema::decode_json(input), nullptr);
  const schema::Type* type = types[data[0] % types.size()];
  check(schema::decode_json(input, *type), type);
  return 0;
}
