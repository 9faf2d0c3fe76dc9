// CRC-32C (Castagnoli; RFC 3720 B.4) with the processor's instruction where there is one. Thread: any.
#pragma once

#include <cstdint>
#include <string_view>

namespace dure::store {

// Continue a sum by passing the last one; a new one starts with 0.
uint32_t crc32c(std::string_view bytes, uint32_t sum = 0);
// The same by table: for processors without the instruction, and to check the other.
uint32_t crc32c_portable(std::string_view bytes, uint32_t sum = 0);

}  // namespace dure::store
