#include "lab/cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "base/text.h"
#include "lab/lab.h"
#include "lab/process.h"

namespace dure::lab {
namespace {

namespace fs = std::filesystem;

std::string last_lines(const std::string& path) {
  std::ifstream file(path);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  return text.size() > 600 ? text.substr(text.size() - 600) : text;
}

}  // namespace

std::string cache_folder() {
  if (const char* set = getenv("DURE_LAB_CACHE")) return set;
  return fs::path(lab_folder("x")).parent_path().string() + "/cache";
}

std::string cached(const std::string& name, const std::string& recipe) {
  return fmt::format("{}/{}-{:08x}", cache_folder(), name, static_cast<uint32_t>(fnv1a_64(recipe)));
}

CacheLock::CacheLock() {
  std::error_code ignored;
  fs::create_directories(cache_folder(), ignored);
  fd_ = open((cache_folder() + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ >= 0) flock(fd_, LOCK_EX);
}

CacheLock::~CacheLock() {
  if (fd_ >= 0) close(fd_);
}

Status run_maker(const std::vector<std::string>& words, const std::string& package, const std::string& missing) {
  const std::string log = cache_folder() + "/" + words[0] + ".log";
  Command command{words};
  command.output = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  DURE_TRY(const int pid, spawn(command));
  const int status = wait_for(pid);
  close(command.output);
  if (status == 127)
    return fail(Error{500, missing, "this kind of node needs " + words[0] + ", which is not installed",
                      "apt install " + package});
  if (status != 0)
    return fail(
        Error{500, "RootNotMade", words[0] + " ended with " + std::to_string(status) + ":\n" + last_lines(log)});
  return {};
}

}  // namespace dure::lab
