// RelayStream: any Stream with the power to change hands (hand_over), by standing between it and its owner.
#pragma once

#include <memory>

#include "wire/http.h"

namespace dure::wire {

// Loop thread. A stream that has the power already is answered unchanged.
std::unique_ptr<Stream> make_transferable(std::unique_ptr<Stream> stream);

}  // namespace dure::wire
