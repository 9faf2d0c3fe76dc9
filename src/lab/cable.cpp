#include "lab/cable.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "lab/process.h"

namespace dure::lab {
namespace {

constexpr size_t kBytesMax = 16 << 20;
constexpr int64_t kQueueNanoseconds = 200'000'000;
constexpr size_t kFrameBytes = (64 << 10) + 256;

int64_t now_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// One direction.
class Lane {
 public:
  Lane(int from, int to, const Cable& cable) : from_(from), to_(to), cable_(cable) {}

  int from() const { return from_; }
  int64_t due() const { return frames_.empty() ? 0 : frames_.front().due; }

  void take(std::mt19937_64& random, std::vector<char>& buffer) {
    for (int i = 0; i < 64; ++i) {
      const ssize_t n = read(from_, buffer.data(), buffer.size());
      if (n <= 0) return;
      put({buffer.data(), static_cast<size_t>(n)}, random);
    }
  }

  void deliver(int64_t now) {
    for (; !frames_.empty() && frames_.front().due <= now; frames_.pop_front()) {
      bytes_ -= frames_.front().bytes.size();
      send(frames_.front().bytes);
    }
  }

 private:
  struct Frame {
    int64_t due;
    std::string bytes;
  };

  void put(std::string_view bytes, std::mt19937_64& random) {
    std::uniform_real_distribution<double> chance(0, 1);
    if (cable_.loss > 0 && chance(random) < cable_.loss) return;
    if (cable_.plain() && frames_.empty()) return send(bytes);
    const int64_t now = now_nanoseconds();
    int64_t leaves = now;
    if (cable_.rate_bits > 0) {
      leaves = std::max(now, line_free_) +
               static_cast<int64_t>(static_cast<double>(bytes.size()) * 8e9 / static_cast<double>(cable_.rate_bits));
      if (leaves - now > kQueueNanoseconds) return;
      line_free_ = leaves;
    }
    if (bytes_ + bytes.size() > kBytesMax) return;
    const auto jitter = static_cast<int64_t>(chance(random) * static_cast<double>(cable_.jitter.count()));
    last_due_ = std::max(last_due_, leaves + cable_.delay.count() + jitter);
    bytes_ += bytes.size();
    frames_.push_back({last_due_, std::string(bytes)});
  }

  void send(std::string_view bytes) {
    // A device that is down refuses frames; that is a loss like any other.
    if (write(to_, bytes.data(), bytes.size()) < 0) return;
  }

  int from_, to_;
  const Cable& cable_;
  std::deque<Frame> frames_;
  size_t bytes_ = 0;
  int64_t last_due_ = 0, line_free_ = 0;
};

// Large frames would make a loss of 1 % a loss of whole bursts, and a rate limit a stutter.
void set_offload(int fd, const Cable& cable) {
  const unsigned int large = TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | (cable.loss > 0 || cable.rate_bits > 0 ? 0u : large));
}

void arm(int timer, int64_t due) {
  itimerspec when{};
  when.it_value.tv_sec = due / 1'000'000'000;
  when.it_value.tv_nsec = due % 1'000'000'000;
  timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, nullptr);
}

int carry(int a, int b, Cable cable, int control) {
  set_offload(a, cable);
  set_offload(b, cable);
  Lane out(a, b, cable), back(b, a, cable);
  std::mt19937_64 random(std::random_device{}());
  std::vector<char> buffer(kFrameBytes);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  while (true) {
    const int64_t first = out.due() && back.due() ? std::min(out.due(), back.due()) : std::max(out.due(), back.due());
    arm(timer, first);  // 0: never
    pollfd waiting[]{{a, POLLIN, 0}, {b, POLLIN, 0}, {timer, POLLIN, 0}, {control, POLLIN, 0}};
    if (poll(waiting, 4, -1) < 0 && errno != EINTR) return 1;
    if (waiting[0].revents) out.take(random, buffer);
    if (waiting[1].revents) back.take(random, buffer);
    out.deliver(now_nanoseconds());
    back.deliver(now_nanoseconds());
    if (!waiting[3].revents) continue;
    Cable next;
    if (read(control, &next, sizeof next) != sizeof next) return 0;
    cable = next;
    set_offload(a, cable);
    set_offload(b, cable);
  }
}

}  // namespace

int open_tap(int pid, const std::string& name) {
  if (!join_namespaces(pid, {"net"})) return -1;
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0) return fd;
  fprintf(stderr, "cable: %s: %s\n", name.c_str(), strerror(errno));
  return -1;
}

int run_cable(const CableEnds& ends, const Cable& cable, int control) {
  prctl(PR_SET_NAME, "dure-lab-cable");
  const int a = open_tap(ends.pid_a, ends.name_a), b = a < 0 ? -1 : open_tap(ends.pid_b, ends.name_b);
  if (b < 0 || write(control, "+", 1) != 1) return 1;
  return carry(a, b, cable, control);
}

}  // namespace dure::lab
