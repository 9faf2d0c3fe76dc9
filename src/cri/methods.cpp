#include "cri/methods.h"

#include "cri/views/cri_v1.h"

namespace dure::cri {

const schema::Method* find_method(std::string_view name) {
  for (const schema::Method& method : v1::methods)
    if (method.name == name) return &method;
  return nullptr;
}

}  // namespace dure::cri
