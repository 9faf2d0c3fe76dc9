// Fuzz target: whatever lies in the folder, opening the store ends in an error or in a store that works and keeps
// what it shows. The input becomes the files of the folder. In most modes checksums are made right, so that what
// lies behind them is reached.
#include <cstring>

#include "base/log.h"
#include "run/virtual_executor.h"
#include "store/crc32c.h"
#include "store/log_segments.h"
#include "store/log_store.h"

using namespace dure;
using namespace dure::store;

namespace {

constexpr uint64_t identity = 0x1234;
constexpr size_t segment_bytes = 64 << 10;

struct Input {
  std::string_view rest;
  uint64_t number(size_t bytes) {
    uint64_t value = 0;
    bytes = std::min(bytes, rest.size());
    std::memcpy(&value, rest.data(), bytes);
    rest.remove_prefix(bytes);
    return value;
  }
  std::string_view piece(size_t most) {
    const std::string_view taken = rest.substr(0, number(2) % (most + 1));
    const std::string_view out = rest.substr(0, std::min(taken.size(), rest.size()));
    rest.remove_prefix(out.size());
    return out;
  }
};

// Frames with right checksums around payloads and headers of the input's choice.
std::string frames(Input& input, uint32_t salt) {
  std::string file;
  for (uint64_t sequence = 1 + input.number(1) % 3; !input.rest.empty() && file.size() < segment_bytes / 2;
       ++sequence) {
    const uint64_t choice = input.number(1);
    std::string frame(frame_header_bytes, '\0');
    const uint64_t revision = input.number(2), reserved = revision + input.number(1);
    const auto kind = static_cast<uint32_t>(1 + choice % 4), records = static_cast<uint32_t>(input.number(1));
    frame += input.piece(2000);
    const auto payload = static_cast<uint32_t>(frame.size() - frame_header_bytes);
    sequence += choice >= 250;
    std::memcpy(frame.data() + 4, &payload, 4);
    std::memcpy(frame.data() + 8, &sequence, 8);
    std::memcpy(frame.data() + 16, &revision, 8);
    std::memcpy(frame.data() + 24, &reserved, 8);
    std::memcpy(frame.data() + 32, &kind, 4);
    std::memcpy(frame.data() + 36, &records, 4);
    uint32_t sum = crc32c(std::string_view(frame).substr(4), salt);
    if (choice == 249) ++sum;  // a damaged one among good ones
    std::memcpy(frame.data(), &sum, 4);
    frame.resize((frame.size() + block_bytes - 1) / block_bytes * block_bytes);
    file += frame;
  }
  return file;
}

void write(os::Disk& disk, const std::string& name, std::string_view bytes) {
  auto file = disk.open("/s/" + name, os::OpenMode::create);
  if (file) (void)(*file)->write_at(0, bytes);
}

Result<std::unique_ptr<LogStore>> open(os::Disk& disk, run::VirtualExecutor& executor) {
  return LogStore::open(
      "/s", {.segment_bytes = segment_bytes, .commit_executor = &executor, .background_executor = &executor}, disk);
}

std::string picture(const Store& store) {
  std::string text;
  auto page = store.range({.start = "", .end = ""});
  DURE_ASSERT(page.has_value());
  for (const Entry& entry : page->entries) text += entry.key + '=' + std::string(entry.value.view()) + '\n';
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = (set_log_sink([](LogLevel, std::string_view) {}), true);
  (void)quiet;
  Input input{{reinterpret_cast<const char*>(data), size}};
  os::MemoryDisk disk;
  run::VirtualExecutor executor;
  if (!disk.make_directories("/s")) return 0;
  write(disk, "identity", "dure store 1 " + numbered_name("", identity) + "\n");
  const uint64_t mode = input.number(1);
  if (mode % 8 == 0) {
    write(disk, numbered_name("log-", 1), input.rest);
  } else {
    if (mode & 8) {
      const uint64_t covers = 1 + input.number(1) % 4;
      Input part{input.piece(4000)};
      write(disk, numbered_name("checkpoint-", covers), frames(part, frame_salt(identity, "checkpoint", covers)));
    }
    Input first{input.piece(8000)};
    write(disk, numbered_name("log-", 1), frames(first, frame_salt(identity, "log", 1)));
    if (mode & 16) write(disk, numbered_name("log-", 2), frames(input, frame_salt(identity, "log", 2)));
  }

  auto store = open(disk, executor);
  if (!store) {
    DURE_ASSERT(!store.error().message.empty());
    return 0;
  }
  Result<Revision> done = 0;
  const Revision before = (*store)->revision();
  (*store)->commit({{{.key = "/new", .value = SharedBytes("x")}}},
                   [&](Result<Revision> answer) { done = std::move(answer); });
  executor.run_until_idle();
  DURE_ASSERT(done && *done == before + 1);
  const std::string shown = picture(**store);
  store->reset();
  store = open(disk, executor);
  DURE_ASSERT(store.has_value());
  DURE_ASSERT(picture(**store) == shown);
  DURE_ASSERT((*store)->revision() == before + 1);
  return 0;
}
