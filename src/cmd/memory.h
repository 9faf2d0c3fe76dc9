// What a long-running door holds of the machine's memory.
#pragma once

namespace dure::cmd {

// glibc's allocator with fixed thresholds and few arenas: large buffers go back to the machine when they are freed.
void tune_memory();

// Free heap goes back, and mapped code and constants of this program and its libraries that only the start needed leave
// this process; what is used again comes back from the page cache by itself. Once, when the start is over; about 2 ms.
void settle_memory();

}  // namespace dure::cmd
