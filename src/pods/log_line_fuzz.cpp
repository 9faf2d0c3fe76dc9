// Any bytes in a log file: the reader neither breaks nor runs away, and what it gives back is no longer than what went
// in.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "pods/log_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dure;
  if (size < 4) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 4, size - 4);
  os::MemoryDisk disk;
  if (!disk.make_directories("/l")) return 0;
  const auto write = [&](const std::string& path, std::string_view text) {
    auto file = disk.open(path, os::OpenMode::create);
    if (file) (void)(*file)->write_at(0, text);
  };
  const size_t cut = bytes.empty() ? 0 : data[0] % (bytes.size() + 1);
  if (data[1] & 1) write("/l/0.log.20240101-000000", bytes.substr(0, cut));
  write("/l/0.log", bytes.substr(cut));
  pods::LogOptions options;
  if (data[1] & 2) options.tail_lines = data[2];
  if (data[1] & 4) options.limit_bytes = data[3];
  options.timestamps = data[1] & 8;
  if (data[1] & 16) options.stream = "Stderr";
  pods::LogReader reader(disk, "/l/0.log", options);
  size_t total = 0;
  for (int i = 0; i < 100; ++i) {
    auto text = reader.next(1 << 12);
    if (!text || text->empty()) break;
    total += text->size();
  }
  if (total > 2 * size + 2) std::abort();
  if (options.limit_bytes && total > static_cast<size_t>(*options.limit_bytes)) std::abort();
  return 0;
}
