#include "lab/process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "lab/cgroup.h"

namespace dure::lab {
namespace {

int namespace_flag(const std::string& name) {
  if (name == "pid") return CLONE_NEWPID;
  if (name == "mnt") return CLONE_NEWNS;
  if (name == "net") return CLONE_NEWNET;
  if (name == "uts") return CLONE_NEWUTS;
  if (name == "ipc") return CLONE_NEWIPC;
  return CLONE_NEWCGROUP;
}

}  // namespace

Result<int> clone_child(int namespace_flags, const std::function<int()>& body) {
  fflush(nullptr);
  // With no stack given the child goes on here with a copy of the memory, as after fork(2).
  const long pid = syscall(SYS_clone, namespace_flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid < 0) return fail(from_errno("clone", errno));
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(body());
  }
  return static_cast<int>(pid);
}

Status join_namespaces(int pid, const std::vector<std::string>& which) {
  std::vector<std::pair<int, int>> opened;
  for (const std::string& name : which) {
    const std::string path = "/proc/" + std::to_string(pid) + "/ns/" + name;
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(from_errno("open " + path, errno));
    opened.emplace_back(fd, namespace_flag(name));
  }
  for (const auto& [fd, flag] : opened) {
    if (setns(fd, flag) != 0) return fail(from_errno("setns", errno));
    close(fd);
  }
  return {};
}

void clean_environment() {
  std::vector<std::pair<const char*, std::string>> kept{{"HOME", "/root"}};
  for (const char* name : {"PATH", "TERM", "LANG"})
    if (const char* value = getenv(name)) kept.emplace_back(name, value);
  clearenv();
  for (const auto& [name, value] : kept) setenv(name, value.c_str(), 1);
}

void execute(const Command& command) {
  for (const auto& [name, value] : command.environment) setenv(name.c_str(), value.c_str(), 1);
  if (command.output >= 0) {
    dup2(command.output, STDOUT_FILENO);
    dup2(command.output, STDERR_FILENO);
  }
  std::vector<char*> arguments;
  for (const std::string& argument : command.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  fprintf(stderr, "%s: %s\n", arguments[0], strerror(errno));
  _exit(127);
}

Result<int> spawn(const Command& command) {
  fflush(nullptr);
  const int pid = fork();
  if (pid < 0) return fail(from_errno("fork", errno));
  if (pid == 0) {
    if (command.die_with_parent) prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;  // the supervisor waits for its signals with a descriptor
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execute(command);
  }
  return pid;
}

int wait_for(int pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return 255;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

bool has_ended(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t at = text.rfind(')');
  return at == std::string::npos || at + 2 >= text.size() || text[at + 2] == 'Z' || text[at + 2] == 'X';
}

Status run_in_child(const std::function<Status()>& work) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return fail(from_errno("pipe", errno));
  auto pid = clone_child(0, [&] {
    const Status done = work();
    if (done) return 0;
    const std::string text = done.error().reason + "\n" + done.error().message;
    return write(report[1], text.data(), text.size()) < 0 ? 2 : 1;
  });
  close(report[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; pid && (n = read(report[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
  close(report[0]);
  if (!pid) return fail(std::move(pid.error()));
  if (const int status = wait_for(*pid); status == 0) return {};
  const size_t line = text.find('\n');
  if (line == std::string::npos) return fail(internal("a child of the lab ended without a word"));
  return fail(Error{500, text.substr(0, line), text.substr(line + 1)});
}

Result<int> run_inside(int pid, const Command& command) {
  fflush(nullptr);
  const int outer = fork();
  if (outer < 0) return fail(from_errno("fork", errno));
  if (outer == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    join_cgroups_of(pid);
    if (auto joined = join_namespaces(pid, {"cgroup", "ipc", "uts", "net", "pid", "mnt"}); !joined) {
      fprintf(stderr, "dure lab: %s\n", joined.error().message.c_str());
      _exit(126);
    }
    if (chdir("/") != 0) _exit(126);
    const int inner = fork();  // into the pid namespace
    if (inner == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      clean_environment();
      execute(command);
    }
    _exit(inner < 0 ? 126 : wait_for(inner));
  }
  return wait_for(outer);
}

}  // namespace dure::lab
