// One table from errno values to the reasons that os/disk.h promises, for both implementations.
#pragma once

#include <string_view>

#include "base/error.h"

namespace dure::os {

Error disk_error(std::string_view what, int errno_value);

}  // namespace dure::os
