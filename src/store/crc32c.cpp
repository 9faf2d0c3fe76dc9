#include "store/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

namespace dure::store {
namespace {

constexpr std::array<std::array<uint32_t, 256>, 8> make_tables() {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t sum = i;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ (sum & 1 ? 0x82f63b78u : 0);
    tables[0][i] = sum;
  }
  for (size_t t = 1; t < 8; ++t) {
    for (size_t i = 0; i < 256; ++i) tables[t][i] = (tables[t - 1][i] >> 8) ^ tables[0][tables[t - 1][i] & 0xff];
  }
  return tables;
}

constexpr auto tables = make_tables();

uint64_t load(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t by_instruction(const char* at, size_t size, uint32_t sum) {
  uint64_t wide = sum;
  for (; size >= 8; at += 8, size -= 8) wide = _mm_crc32_u64(wide, load(at));
  sum = static_cast<uint32_t>(wide);
  for (; size; ++at, --size) sum = _mm_crc32_u8(sum, static_cast<uint8_t>(*at));
  return sum;
}
bool has_instruction() { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
__attribute__((target("crc"))) uint32_t by_instruction(const char* at, size_t size, uint32_t sum) {
  for (; size >= 8; at += 8, size -= 8) sum = __crc32cd(sum, load(at));
  for (; size; ++at, --size) sum = __crc32cb(sum, static_cast<uint8_t>(*at));
  return sum;
}
bool has_instruction() { return getauxval(AT_HWCAP) & (1 << 7); }  // HWCAP_CRC32
#else
uint32_t by_instruction(const char*, size_t, uint32_t) { return 0; }
bool has_instruction() { return false; }
#endif

}  // namespace

uint32_t crc32c_portable(std::string_view bytes, uint32_t sum) {
  sum = ~sum;
  const char* at = bytes.data();
  size_t size = bytes.size();
  for (; size >= 8; at += 8, size -= 8) {
    const uint64_t word = load(at) ^ sum;  // little endian: every machine dure is built for
    sum = 0;
    for (size_t i = 0; i < 8; ++i) sum ^= tables[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (; size; ++at, --size) sum = (sum >> 8) ^ tables[0][(sum ^ static_cast<uint8_t>(*at)) & 0xff];
  return ~sum;
}

uint32_t crc32c(std::string_view bytes, uint32_t sum) {
  static const bool fast = has_instruction();
  return fast ? ~by_instruction(bytes.data(), bytes.size(), ~sum) : crc32c_portable(bytes, sum);
}

}  // namespace dure::store
