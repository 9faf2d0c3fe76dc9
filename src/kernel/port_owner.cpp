#include "kernel/port_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <unistd.h>

// glibc 2.36 forgot to say that these are C.
extern "C" {
#include <sys/pidfd.h>
}

#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "base/text.h"
#include "kernel/namespaces.h"

namespace dure::kernel {
namespace {

namespace fs = std::filesystem;

std::optional<int> number(std::string_view text) {
  int out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// "sl local_address rem_address st queues tr:when retrnsmt uid timeout inode ...", the port as four hexadecimal digits.
uint64_t socket_number(std::istream& table, uint16_t port) {
  std::string line;
  for (std::getline(table, line); std::getline(table, line);) {
    std::istringstream fields(line);
    std::string slot, local, remote, skipped;
    uint64_t inode = 0;
    fields >> slot >> local >> remote;
    for (int i = 0; i < 6; ++i) fields >> skipped;
    fields >> inode;
    const size_t colon = local.find(':');
    if (!fields || colon == std::string::npos) continue;
    if (std::stoul(local.substr(colon + 1), nullptr, 16) == port && inode != 0) return inode;
  }
  return 0;
}

// "socket:[4711]" among the descriptors of some process.
std::optional<std::pair<int, int>> find_holder(uint64_t socket) {
  const std::string wanted = "socket:[" + std::to_string(socket) + "]";
  std::error_code gone;  // processes come and go meanwhile
  for (const auto& process : fs::directory_iterator("/proc", gone)) {
    const auto pid = number(process.path().filename().string());
    if (!pid) continue;
    for (const auto& one : fs::directory_iterator(process.path() / "fd", gone))
      if (fs::read_symlink(one.path(), gone) == wanted)
        if (const auto fd = number(one.path().filename().string())) return std::pair(*pid, *fd);
  }
  return std::nullopt;
}

// A UDP socket's filter sees the UDP header first.
Status attach(int socket, std::array<uint8_t, 4> first) {
  const uint32_t magic = uint32_t{first[0]} << 24 | uint32_t{first[1]} << 16 | uint32_t{first[2]} << 8 | first[3];
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 12, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 8), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, magic, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),          BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  const sock_fprog program{std::size(code), code};
  if (setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0) return {};
  return fail(from_errno("filter another program's socket", errno));
}

Status attach_in(std::pair<int, int> holder, std::array<uint8_t, 4> first) {
  const int process = pidfd_open(holder.first, 0);
  if (process < 0) return fail(from_errno("open process " + std::to_string(holder.first), errno));
  const int socket = pidfd_getfd(process, holder.second, 0);
  const int refused = errno;
  close(process);
  if (socket < 0) {
    Error error = from_errno("take a copy of another program's socket", refused);
    if (refused == EPERM) error.reason = "Forbidden";
    return fail(std::move(error));
  }
  const Status done = attach(socket, first);
  close(socket);
  return done;
}

}  // namespace

Result<uint64_t> PortOwner::find_socket() const {
  uint64_t found = 0;
  const auto look = [&] {
    std::ifstream table("/proc/thread-self/net/udp");
    found = socket_number(table, port_);
  };
  if (namespace_) {
    DURE_CHECK(namespace_->run(look));
  } else {
    look();
  }
  if (found) return found;
  return fail(Error{404, "NotFound", "no program has UDP port " + std::to_string(port_)});
}

Status PortOwner::spare() {
  DURE_TRY(const uint64_t socket, find_socket());
  if (socket == spared_) return {};
  const auto holder = find_holder(socket);
  if (!holder) return fail(Error{404, "NotFound", "the program of UDP port " + std::to_string(port_) + " is not here"});
  DURE_CHECK(attach_in(*holder, first_));
  spared_ = socket;
  return {};
}

}  // namespace dure::kernel
