// The bytes of the programs that run in pods of ours, taken in from the build folder.
#include <string_view>

#include "pods/image_archive.h"

#define DURE_EMBED(name, file)                                                                  \
  asm(".section .rodata\n"                                                                      \
      ".balign 16\n"                                                                            \
      "dure_" #name                                                                             \
      "_begin:\n"                                                                               \
      ".incbin \"" file                                                                         \
      "\"\n"                                                                                    \
      "dure_" #name                                                                             \
      "_end:\n"                                                                                 \
      ".byte 0\n"                                                                               \
      ".previous\n");                                                                           \
  extern "C" const char dure_##name##_begin[] __asm__("dure_" #name "_begin");                  \
  extern "C" const char dure_##name##_end[] __asm__("dure_" #name "_end");                      \
  std::string_view dure::pods::name##_program() {                                               \
    return {dure_##name##_begin, static_cast<size_t>(dure_##name##_end - dure_##name##_begin)}; \
  }

DURE_EMBED(pause, DURE_PAUSE_FILE)
DURE_EMBED(witness, DURE_WITNESS_FILE)
