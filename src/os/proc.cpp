#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include "base/text.h"

extern char** environ;

namespace dure::os {
namespace {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }
  int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

struct Pipe {
  Descriptor read, write;
};
Result<Pipe> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(from_errno("pipe", errno));
  return Pipe{Descriptor(fds[0]), Descriptor(fds[1])};
}

ProcessExit decode(int status) {
  if (WIFSIGNALED(status)) return {-1, WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

class LinuxProcess final : public Process {
 public:
  LinuxProcess(pid_t pid, Descriptor pidfd, bool group) : pid_(pid), pidfd_(std::move(pidfd)), group_(group) {}
  pid_t pid() const override { return pid_; }
  Result<ProcessExit> wait() override {
    DURE_TRY(const auto exit, wait_for(Duration::max()));
    return *exit;
  }
  Result<std::optional<ProcessExit>> wait_for(Duration limit) override {
    if (!exited() && !poll_for_end(limit)) return std::optional<ProcessExit>{};
    std::lock_guard lock(mutex_);
    if (exit_) return exit_;
    int status = 0;
    pid_t got;
    do got = waitpid(pid_, &status, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) return fail(from_errno("wait for process " + std::to_string(pid_), errno));
    exit_ = decode(status);
    return exit_;
  }
  Status kill(int signal) override {
    std::lock_guard lock(mutex_);
    if (exit_) return {};  // the pid may be somebody else's by now
    if (::kill(group_ ? -pid_ : pid_, signal) != 0 && errno != ESRCH)
      return fail(from_errno("kill process " + std::to_string(pid_), errno));
    return {};
  }

 private:
  bool exited() {
    std::lock_guard lock(mutex_);
    return exit_.has_value();
  }
  bool poll_for_end(Duration limit) {
    const auto deadline = limit == Duration::max() ? std::chrono::steady_clock::time_point::max()
                                                   : std::chrono::steady_clock::now() + limit;
    for (;;) {
      const auto left = deadline - std::chrono::steady_clock::now();
      const int milliseconds =
          limit == Duration::max()
              ? -1
              : int(std::clamp<int64_t>(
                    (std::chrono::duration_cast<std::chrono::microseconds>(left).count() + 999) / 1000, 0, 1 << 30));
      pollfd entry{pidfd_.get(), POLLIN, 0};
      const int ready = poll(&entry, 1, milliseconds);
      if (ready > 0) return true;
      if (ready == 0 && limit != Duration::max()) return false;
    }
  }
  const pid_t pid_;
  const Descriptor pidfd_;
  const bool group_;
  std::mutex mutex_;
  std::optional<ProcessExit> exit_;
};

// PATH is searched in the parent: between fork and exec nothing may allocate.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = getenv("PATH");
  for (const auto folder : split(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin", ':')) {
    std::string candidate = std::string(folder) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return name;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// Everything the child needs, made before the fork.
struct Plan {
  const char* program;
  char* const* argv;
  char* const* env;
  const char* directory;
  std::pair<int, int>* descriptors;  // {child's, ours}; "ours" are moved out of the way by the child
  size_t descriptor_count;
  const int* namespaces;
  size_t namespace_count;
  int parent_death_signal;
  pid_t parent;
  bool group, session;
  int error_pipe;
};

// Between fork and exec: only calls that are safe after a fork of a threaded process.
[[noreturn]] void child_main(Plan& plan) {
  const auto give_up = [&](int step) {
    const int report[2] = {errno, step};
    (void)!write(plan.error_pipe, report, sizeof report);
    _exit(127);
  };
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (plan.session) setsid();
  if (plan.group) setpgid(0, 0);
  if (plan.parent_death_signal != 0) {
    prctl(PR_SET_PDEATHSIG, plan.parent_death_signal);
    if (getppid() != plan.parent) _exit(127);  // it died before the line above
  }
  for (size_t i = 0; i < plan.namespace_count; ++i)
    if (setns(plan.namespaces[i], 0) != 0) give_up(0);
  if (*plan.directory != '\0' && chdir(plan.directory) != 0) give_up(1);
  int highest = 2;
  for (size_t i = 0; i < plan.descriptor_count; ++i) highest = std::max(highest, plan.descriptors[i].first);
  if (plan.error_pipe <= highest) {
    plan.error_pipe = fcntl(plan.error_pipe, F_DUPFD_CLOEXEC, highest + 1);
    if (plan.error_pipe < 0) _exit(127);
  }
  for (size_t i = 0; i < plan.descriptor_count; ++i) {
    plan.descriptors[i].second = fcntl(plan.descriptors[i].second, F_DUPFD_CLOEXEC, highest + 1);
    if (plan.descriptors[i].second < 0) give_up(2);
  }
  for (size_t i = 0; i < plan.descriptor_count; ++i)
    if (dup2(plan.descriptors[i].second, plan.descriptors[i].first) < 0) give_up(2);
  execve(plan.program, plan.argv, plan.env);
  give_up(3);
  _exit(127);
}

Status check_started(int error_fd, const ProcessSpec& spec, const std::string& program) {
  int report[2];
  ssize_t got;
  do got = read(error_fd, report, sizeof report);
  while (got < 0 && errno == EINTR);
  if (got != sizeof report) return {};
  static constexpr const char* steps[] = {"enter namespace for ", "change folder for ", "pass descriptors to ",
                                          "start "};
  Error error = from_errno(steps[report[1]] + program, report[0]);
  if (report[1] == 3 && report[0] == ENOENT) error.reason = "ProgramNotFound";
  return fail(std::move(error));
}

}  // namespace

Result<std::unique_ptr<Process>> spawn(const ProcessSpec& spec) {
  DURE_ASSERT(!spec.argv.empty());
  const std::string program = find_program(spec.argv[0]);
  const auto argv = pointers(spec.argv);
  const auto env = spec.env ? pointers(*spec.env) : std::vector<char*>{};
  auto descriptors = spec.descriptors;
  const bool own_input =
      std::any_of(descriptors.begin(), descriptors.end(), [](const auto& d) { return d.first == 0; });
  Descriptor null;
  if (!own_input) {
    null = Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (null.get() < 0) return fail(from_errno("open /dev/null", errno));
    descriptors.emplace_back(0, null.get());
  }
  DURE_TRY(auto errors, make_pipe());
  Plan plan{
      program.c_str(),          argv.data(),        spec.env ? env.data() : environ, spec.working_directory.c_str(),
      descriptors.data(),       descriptors.size(), spec.namespaces.data(),          spec.namespaces.size(),
      spec.parent_death_signal, getpid(),           spec.new_process_group,          spec.new_session,
      errors.write.get()};
  const pid_t pid = fork();
  if (pid < 0) return fail(from_errno("fork", errno));
  if (pid == 0) child_main(plan);
  errors.write.reset();
  if (auto started = check_started(errors.read.get(), spec, program); !started) {
    waitpid(pid, nullptr, 0);
    return fail(std::move(started).error());
  }
  const int pidfd = int(syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) return fail(from_errno("pidfd_open", errno));
  return std::make_unique<LinuxProcess>(pid, Descriptor(pidfd), spec.new_process_group || spec.new_session);
}

namespace {

struct Drain {
  Descriptor fd;
  std::string* text;
};

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// Feeds and drains the child's pipes until all are closed; false when the time or the size ran out.
bool pump(Descriptor input, std::string_view bytes, Drain out, Drain err,
          std::chrono::steady_clock::time_point deadline, size_t bytes_max) {
  if (bytes.empty()) input.reset();
  for (Drain* drain : {&out, &err}) set_nonblocking(drain->fd.get());
  if (input.get() >= 0) set_nonblocking(input.get());
  char buffer[16 << 10];
  while (out.fd.get() >= 0 || err.fd.get() >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd entries[3] = {{out.fd.get(), POLLIN, 0}, {err.fd.get(), POLLIN, 0}, {input.get(), POLLOUT, 0}};
    if (poll(entries, 3, int(std::min<int64_t>(left, 60'000))) < 0) continue;
    for (int i = 0; i < 2; ++i) {
      Drain& drain = i == 0 ? out : err;
      if (drain.fd.get() < 0 || entries[i].revents == 0) continue;
      const ssize_t got = read(drain.fd.get(), buffer, sizeof buffer);
      if (got > 0) drain.text->append(buffer, size_t(got));
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) drain.fd.reset();
      if (drain.text->size() > bytes_max) return false;
    }
    if (input.get() >= 0 && entries[2].revents != 0) {
      const ssize_t put = write(input.get(), bytes.data(), bytes.size());
      if (put > 0) bytes.remove_prefix(size_t(put));
      if (bytes.empty() || (put < 0 && errno != EAGAIN && errno != EINTR)) input.reset();
    }
  }
  return true;
}

}  // namespace

Result<Output> run_command(ProcessSpec spec, std::string_view input, Duration timeout, size_t bytes_max) {
  DURE_TRY(auto in, make_pipe());
  DURE_TRY(auto out, make_pipe());
  DURE_TRY(auto err, make_pipe());
  spec.descriptors.insert(spec.descriptors.end(), {{0, in.read.get()}, {1, out.write.get()}, {2, err.write.get()}});
  spec.new_process_group = true;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  DURE_TRY(const auto process, spawn(spec));
  in.read.reset();
  out.write.reset();
  err.write.reset();
  Output output;
  const bool drained = pump(std::move(in.write), input, {std::move(out.read), &output.out},
                            {std::move(err.read), &output.err}, deadline, bytes_max);
  std::optional<ProcessExit> exit;
  if (drained) {
    DURE_TRY(exit,
             process->wait_for(std::max(Duration::zero(), Duration(deadline - std::chrono::steady_clock::now()))));
  }
  if (!exit) {
    DURE_CHECK(process->kill(SIGKILL));
    DURE_CHECK(process->wait());
    return fail(timed_out(spec.argv[0] + " did not end in time or wrote too much"));
  }
  output.exit = *exit;
  return output;
}

}  // namespace dure::os
