#include "lab/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>

#include "lab/control.h"
#include "lab/verbs.h"
#include "lab/world.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

class Supervisor {
 public:
  Supervisor(const LabSpec& spec, const Progress& progress)
      : spec_(spec), progress_(progress), world_(spec, [this](const std::string& line) { step(line); }) {}

  int run() {
    block_signals();
    const auto limit = std::chrono::duration_cast<std::chrono::seconds>(spec_.time_limit).count();
    ends_ = limit > 0 ? time(nullptr) + limit : 0;
    Status built = build();
    if (!built) {
      progress_("error: " + built.error().message);
      end(true);
      return 1;
    }
    progress_("up");
    stay();
    end(false);
    return 0;
  }

 private:
  void block_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }

  Status build() {
    DURE_TRY(control_, listen_control(spec_.folder));
    DURE_CHECK(save_state());
    DURE_CHECK(world_.build());
    return save_state();
  }

  // What stands already can be looked into while the rest is built.
  void step(const std::string& line) {
    if (Status saved = save_state(); !saved) progress_("state: " + saved.error().message);
    progress_(line);
  }

  Status save_state() const {
    LabState state;
    state.supervisor_pid = getpid();
    state.ends_at_seconds = ends_;
    world_.fill(state);
    return write_state(spec_.folder, state);
  }

  void stay() {
    while (ends_ == 0 || time(nullptr) < ends_) {
      pollfd waiting[]{{signals_, POLLIN, 0}, {control_, POLLIN, 0}};
      if (poll(waiting, 2, ends_ ? 60'000 : -1) <= 0) continue;
      if (waiting[0].revents && told_to_end()) return;
      if (waiting[1].revents)
        serve_control(control_, [&](const std::vector<std::string>& words) { return change(words); });
    }
  }

  bool told_to_end() {
    signalfd_siginfo info;
    while (read(signals_, &info, sizeof info) == sizeof info)
      if (info.ssi_signo != SIGCHLD) return true;
    return !world_.alive();
  }

  Result<std::string> change(const std::vector<std::string>& words) {
    auto done = apply_verb(world_, words);
    DURE_CHECK(save_state());
    progress_(done ? *done : "refused: " + done.error().message);
    return done;
  }

  // A lab that failed to start keeps its logs; the next up or down removes them.
  void end(bool keep_logs) {
    const int left = world_.end();
    std::error_code ignored;
    if (!keep_logs) fs::remove_all(spec_.folder + "/nodes", ignored);
    for (const char* part : {"/state", "/kubeconfig", "/bin", "/rules", "/control"})
      fs::remove_all(spec_.folder + part, ignored);
    progress_(left == 0 ? "down" : "down, but " + std::to_string(left) + " cgroup folders could not be removed");
  }

  const LabSpec& spec_;
  const Progress& progress_;
  World world_;
  time_t ends_ = 0;
  int signals_ = -1, control_ = -1;
};

}  // namespace

int supervise(const LabSpec& spec, const Progress& progress) { return Supervisor(spec, progress).run(); }

}  // namespace dure::lab
