#include "lab/guest.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include <fmt/format.h>

#include "base/text.h"
#include "lab/guest_frames.h"
#include "lab/process.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;
using Kind = GuestFrame::Kind;

constexpr size_t kPendingBytesMax = 256 << 10;
constexpr size_t kChunkBytes = 16 << 10;
constexpr int kLookAgainMilliseconds = 50, kGoneMilliseconds = 500;

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// As much of `pending` as goes without waiting. False: nobody takes it any more.
bool write_some(int fd, std::string& pending) {
  while (!pending.empty()) {
    const ssize_t n = write(fd, pending.data(), pending.size());
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    pending.erase(0, static_cast<size_t>(n));
  }
  return true;
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

int64_t now_milliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// ---- In the guest.

// A command with its pipes or its terminal.
struct Child {
  int pid = -1, pid_fd = -1;
  int in = -1, out = -1, err = -1;  // with a terminal all three are its one descriptor, and err is not used
  bool terminal = false;

  ~Child() {
    if (pid > 0) {
      kill(-pid, SIGKILL);
      wait_for(pid);
    }
    if (!terminal) close_fd(in);
    close_fd(out);
    close_fd(err);
    close_fd(pid_fd);
  }
};

[[noreturn]] void become(const GuestRequest& request) {
  Command command{request.arguments};
  for (const std::string& pair : request.environment)
    if (const size_t at = pair.find('='); at != std::string::npos)
      command.environment.emplace_back(pair.substr(0, at), pair.substr(at + 1));
  if (chdir("/") != 0) _exit(126);
  signal(SIGPIPE, SIG_DFL);
  execute(command);
}

bool start_on_terminal(const GuestRequest& request, Child& child) {
  winsize size{};
  size.ws_row = static_cast<unsigned short>(request.rows);
  size.ws_col = static_cast<unsigned short>(request.columns);
  child.terminal = true;
  child.pid = forkpty(&child.out, nullptr, nullptr, &size);
  if (child.pid == 0) become(request);
  child.in = child.out;
  return child.pid > 0;
}

bool start_on_pipes(const GuestRequest& request, Child& child) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return false;
  child.pid = fork();
  if (child.pid == 0) {
    setsid();
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    become(request);
  }
  for (const int theirs : {in[0], out[1], err[1]}) close(theirs);
  child.in = in[1];
  child.out = out[0];
  child.err = err[0];
  return child.pid > 0;
}

// One conversation after another on a port that the host has open.
class PortServer {
 public:
  explicit PortServer(int port) : port_(port) {}

  // Until the host has gone.
  void run() {
    while (true) {
      if (const auto frame = await_request()) {
        if (const auto request = decode_request(frame->bytes)) converse(*request);
      } else {
        return;
      }
    }
  }

 private:
  std::optional<GuestFrame> await_request() {
    while (true) {
      while (auto frame = next_ ? std::exchange(next_, {}) : reader_.next())
        if (frame->kind == Kind::request) {
          reader_.restarted();
          return frame;
        }
      if (reader_.broken()) reader_ = GuestReader();
      pollfd waiting{port_, POLLIN, 0};
      if (poll(&waiting, 1, -1) < 0 && errno != EINTR) return {};
      if (!read_port() && (waiting.revents & POLLHUP)) return {};
    }
  }

  bool read_port() {
    char buffer[kChunkBytes];
    const ssize_t n = read(port_, buffer, sizeof buffer);
    if (n <= 0) return false;
    reader_.feed({buffer, static_cast<size_t>(n)});
    return true;
  }

  void converse(const GuestRequest& request) {
    Child child;
    to_host_ = guest_opening(reader_.token());
    to_child_.clear();
    input_ended_ = false;
    const bool started = request.rows > 0 ? start_on_terminal(request, child) : start_on_pipes(request, child);
    if (started) {
      child.pid_fd = static_cast<int>(syscall(SYS_pidfd_open, child.pid, 0));
      for (const int fd : {child.in, child.out, child.err})
        if (fd >= 0) set_nonblocking(fd);
    }
    int status = 126;
    if (started && !carry(child, status)) return;
    to_host_ += guest_frame(Kind::end, std::to_string(status));
    drain();
  }

  // Until the command ends; false when the host has gone or asks for something else.
  bool carry(Child& child, int& status) {
    while (true) {
      const bool take = to_host_.size() < kPendingBytesMax;
      pollfd waiting[]{
          {port_,
           static_cast<short>((to_child_.size() < kPendingBytesMax ? POLLIN : 0) | (to_host_.empty() ? 0 : POLLOUT)),
           0},
          {take ? child.out : -1, POLLIN, 0},
          {take ? child.err : -1, POLLIN, 0},
          {to_child_.empty() ? -1 : child.in, POLLOUT, 0},
          {child.pid_fd, POLLIN, 0}};
      if (poll(waiting, 5, -1) < 0 && errno != EINTR) return false;
      if (host_has_gone(waiting[0].revents)) return false;
      if (waiting[0].revents & POLLIN && read_port() && !take_input()) return false;
      if (waiting[1].revents) take_output(child.out, Kind::output);
      if (waiting[2].revents) take_output(child.err, Kind::errors);
      feed_child(child);
      if (!write_some(port_, to_host_)) return false;
      if (!(waiting[4].revents & POLLIN)) continue;
      // What it wrote is in the pipes by now; what its own children write later is not waited for.
      while (to_host_.size() < 4 * kPendingBytesMax &&
             (take_output(child.out, Kind::output) || take_output(child.err, Kind::errors)))
        continue;
      status = wait_for(std::exchange(child.pid, -1));
      return true;
    }
  }

  // The news that an earlier host has gone may come later than the first bytes of the next one: only what lasts is
  // true.
  bool host_has_gone(short events) {
    if (!(events & POLLHUP)) {
      gone_since_ = 0;
      return false;
    }
    if (gone_since_ == 0) gone_since_ = now_milliseconds();
    usleep(5000);
    return now_milliseconds() - gone_since_ > kGoneMilliseconds;
  }

  bool take_input() {
    while (auto frame = reader_.next()) {
      if (reader_.restarted()) {
        next_ = std::move(frame);
        return false;
      }
      if (frame->kind != Kind::input) continue;
      if (frame->bytes.empty()) input_ended_ = true;
      to_child_ += frame->bytes;
    }
    return !reader_.broken();
  }

  void feed_child(Child& child) {
    if (child.in < 0) return to_child_.clear();
    const bool taken = write_some(child.in, to_child_);
    if (taken && !(input_ended_ && to_child_.empty())) return;
    if (child.terminal) return;
    close_fd(child.in);
    to_child_.clear();
  }

  bool take_output(int& fd, Kind kind) {
    if (fd < 0) return false;
    char buffer[kChunkBytes];
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0) to_host_ += guest_frame(kind, {buffer, static_cast<size_t>(n)});
    // A terminal says EIO when its last user has gone.
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) fd = (close(fd), -1);
    return n > 0;
  }

  void drain() {
    while (!to_host_.empty()) {
      pollfd waiting{port_, POLLOUT, 0};
      if (poll(&waiting, 1, 10'000) <= 0 || host_has_gone(waiting.revents) || !write_some(port_, to_host_)) return;
    }
  }

  int port_;
  GuestReader reader_;
  std::optional<GuestFrame> next_;
  std::string to_host_, to_child_;
  bool input_ended_ = false;
  int64_t gone_since_ = 0;
};

std::vector<int> open_ports() {
  std::vector<int> out;
  for (int i = 0; i < guest_ports; ++i) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/sys/class/virtio-ports", ignored)) {
      std::ifstream file(entry.path() / "name");
      std::string name;
      if (!std::getline(file, name) || name != guest_port_name(i)) continue;
      const int fd = open(("/dev/" + entry.path().filename().string()).c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
      if (fd >= 0) out.push_back(fd);
    }
  }
  return out;
}

// ---- On the host.

// The number of a port that nobody uses, locked while `lock` is open.
Result<int> take_port(const std::string& folder, int64_t until, int& lock) {
  while (true) {
    for (int i = 0; i < guest_ports; ++i) {
      lock = open((folder + "/" + guest_socket(i) + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) return i;
      close_fd(lock);
    }
    if (now_milliseconds() > until)
      return fail(Error{503, "GuestSilent", fmt::format("{} commands run in this machine already", guest_ports)});
    usleep(kLookAgainMilliseconds * 1000);
  }
}

Result<int> connect_to(const std::string& path, int64_t until) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(bad_request("the path " + path + " is too long for a socket; set DURE_LAB_FOLDER to a shorter one"));
  memcpy(address.sun_path, path.c_str(), path.size());
  while (true) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    const int why = errno;
    close(fd);
    if (now_milliseconds() > until) return fail(from_errno("connect to " + path, why));
    usleep(kLookAgainMilliseconds * 1000);
  }
}

std::string fresh_token() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

// Lets every key through to the guest's terminal; as before when it ends.
class RawTerminal {
 public:
  explicit RawTerminal(int fd) : fd_(fd) {
    if (fd < 0 || tcgetattr(fd, &before_) != 0) {
      fd_ = -1;
      return;
    }
    termios raw = before_;
    cfmakeraw(&raw);
    tcsetattr(fd, TCSANOW, &raw);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (fd_ >= 0) tcsetattr(fd_, TCSANOW, &before_);
  }

 private:
  int fd_;
  termios before_{};
};

// One command as its caller sees it.
class Conversation {
 public:
  Conversation(const GuestCommand& command, int socket)
      : command_(command), socket_(socket), token_(fresh_token()), reader_(token_), input_(command.input) {}

  Result<int> run() {
    GuestRequest request{command_.environment, command_.arguments, 0, 0};
    if (winsize size{}; command_.terminal && ioctl(command_.input, TIOCGWINSZ, &size) == 0) {
      request.rows = std::max<int>(size.ws_row, 1);
      request.columns = size.ws_col;
      request.environment.push_back("TERM=" + std::string(getenv("TERM") ? getenv("TERM") : "linux"));
    }
    const std::string bytes = encode_request(request);
    if (bytes.size() > guest_frame_bytes_max) return fail(bad_request("the command is longer than 64 KiB"));
    if (!write_all(socket_, guest_opening(token_) + guest_frame(Kind::request, bytes))) return gone();
    const RawTerminal raw(request.rows > 0 ? command_.input : -1);
    return carry();
  }

 private:
  Result<int> carry() {
    const int64_t start_until = now_milliseconds() + to_milliseconds(command_.start_within);
    int64_t end_until = 0;
    while (true) {
      pollfd waiting[]{{socket_, POLLIN, 0}, {reader_.opened() ? input_ : -1, POLLIN, 0}};
      if (poll(waiting, 2, 500) < 0 && errno != EINTR) return gone();
      if (waiting[0].revents) {
        if (!read_socket()) return gone();
        if (const auto status = deliver()) return *status;
      }
      if (waiting[1].revents && !read_input()) return gone();
      const int64_t now = now_milliseconds();
      if (reader_.opened() && end_until == 0) end_until = now + to_milliseconds(command_.end_within);
      if (!command_.alive()) return gone();
      if (!reader_.opened() && now > start_until) return silent("does not answer");
      if (end_until > 0 && command_.end_within > Duration::zero() && now > end_until)
        return silent("did not end `" + join(command_.arguments, " ") + "` in time");
    }
  }

  bool read_socket() {
    char buffer[kChunkBytes];
    const ssize_t n = read(socket_, buffer, sizeof buffer);
    if (n > 0) reader_.feed({buffer, static_cast<size_t>(n)});
    return n > 0;
  }

  std::optional<int> deliver() {
    while (const auto frame = reader_.next()) {
      if (frame->kind == Kind::end) return static_cast<int>(parse_int(frame->bytes).value_or(255));
      const int to = frame->kind == Kind::errors ? command_.errors : command_.output;
      if (to >= 0) write_all(to, frame->bytes);
    }
    return {};
  }

  bool read_input() {
    char buffer[kChunkBytes];
    const ssize_t n = read(input_, buffer, sizeof buffer);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n <= 0) input_ = -1;
    return write_all(socket_, guest_frame(Kind::input, {buffer, static_cast<size_t>(std::max<ssize_t>(n, 0))}));
  }

  static int64_t to_milliseconds(Duration time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  }
  static Result<int> gone() { return fail(Error{500, "GuestGone", "the machine went off before the command ended"}); }
  static Result<int> silent(const std::string& what) { return fail(Error{504, "GuestSilent", "the machine " + what}); }

  const GuestCommand& command_;
  int socket_;
  std::string token_;
  GuestReader reader_;
  int input_;
};

}  // namespace

std::string guest_socket(int port) { return "port" + std::to_string(port); }
std::string guest_port_name(int port) { return "dure.lab." + std::to_string(port); }

Result<int> run_in_guest(const std::string& folder, const GuestCommand& command) {
  const int64_t until =
      now_milliseconds() + std::chrono::duration_cast<std::chrono::milliseconds>(command.start_within).count();
  int lock = -1;
  DURE_TRY(const int port, take_port(folder, until, lock));
  auto socket = connect_to(folder + "/" + guest_socket(port), std::min(until, now_milliseconds() + 5000));
  Result<int> done = socket ? Conversation(command, *socket).run() : Result<int>(fail(std::move(socket.error())));
  if (socket) close(*socket);
  close_fd(lock);
  return done;
}

Status serve_guest() {
  signal(SIGPIPE, SIG_IGN);
  const std::vector<int> ports = open_ports();
  if (ports.empty())
    return fail(Error{404, "NotFound", "this machine has no port to the lab: it is no virtual machine of one"});
  std::vector<int> servers(ports.size(), 0);
  while (true) {
    for (size_t i = 0; i < ports.size(); ++i) {
      if (servers[i] > 0 && waitpid(servers[i], nullptr, WNOHANG) == servers[i]) servers[i] = 0;
      pollfd waiting{ports[i], POLLIN, 0};
      if (servers[i] > 0 || poll(&waiting, 1, 0) <= 0 || (waiting.revents & POLLHUP)) continue;
      DURE_TRY(servers[i], clone_child(0, [&] {
                 PortServer(ports[i]).run();
                 return 0;
               }));
    }
    usleep(kLookAgainMilliseconds * 1000);
  }
}

}  // namespace dure::lab
