// The sandbox program's bytes, taken in from the build folder.
#include <string_view>

#include "pods/image_archive.h"

asm(".section .rodata\n"
    ".balign 16\n"
    "dure_pause_begin:\n"
    ".incbin \"" DURE_PAUSE_FILE
    "\"\n"
    "dure_pause_end:\n"
    ".byte 0\n"
    ".previous\n");

extern "C" {
extern const char dure_pause_begin[] __asm__("dure_pause_begin");
extern const char dure_pause_end[] __asm__("dure_pause_end");
}

namespace dure::pods {

std::string_view pause_program() { return {dure_pause_begin, static_cast<size_t>(dure_pause_end - dure_pause_begin)}; }

}  // namespace dure::pods
