// The calls of CRI v1 by name: which service a method belongs to and which messages it takes.
#pragma once

#include <string_view>

#include "schema/resource.h"

namespace dure::cri {

const schema::Method* find_method(std::string_view name);  // null: no such call

}  // namespace dure::cri
