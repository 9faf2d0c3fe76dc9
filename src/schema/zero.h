// Zero: what a row without a pointer means by absent.
#pragma once

#include "schema/document.h"

namespace dure::schema {

// False, 0 or the empty string; null and containers are not.
inline bool is_zero_scalar(const Node* node) {
  switch (node->kind()) {
    case Kind::boolean:
      return !node->boolean();
    case Kind::integer:
      return node->integer() == 0;
    case Kind::number:
      return node->number() == 0;
    case Kind::string:
      return node->string().empty();
    default:
      return false;
  }
}

}  // namespace dure::schema
