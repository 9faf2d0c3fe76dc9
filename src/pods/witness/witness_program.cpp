// The witness program's bytes, taken in from the build folder.
#include <string_view>

#include "pods/image_archive.h"

asm(".section .rodata\n"
    ".balign 16\n"
    "dure_witness_begin:\n"
    ".incbin \"" DURE_WITNESS_FILE
    "\"\n"
    "dure_witness_end:\n"
    ".byte 0\n"
    ".previous\n");

extern "C" {
extern const char dure_witness_begin[] __asm__("dure_witness_begin");
extern const char dure_witness_end[] __asm__("dure_witness_end");
}

namespace dure::pods {

std::string_view witness_program() {
  return {dure_witness_begin, static_cast<size_t>(dure_witness_end - dure_witness_begin)};
}

}  // namespace dure::pods
