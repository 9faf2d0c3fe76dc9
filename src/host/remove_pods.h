// For reset: stops and removes every pod that the container runtime knows.
#pragma once

#include <string>

#include "base/result.h"

namespace dure::host {

// Blocks. A runtime that does not answer is an error; the pods of other orchestrators are left alone: only those with
// the labels of a kubelet are taken.
Status remove_pods(const std::string& runtime_endpoint);

}  // namespace dure::host
