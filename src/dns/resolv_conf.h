// The node's resolv.conf as far as a forwarder needs it. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "base/ip.h"

namespace dure::dns {

// Its nameservers without `own` ones, at most three: asking ourselves would go round for ever.
std::vector<Ip> upstream_of(std::string_view resolv_conf, const std::vector<Ip>& own);

}  // namespace dure::dns
