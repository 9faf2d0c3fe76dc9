#include "lab/cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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

// "NAME-0123abcd", also with ".new" (being made, or left so) or ".old" (being removed, or left so).
bool is_made_for(std::string_view file, std::string_view name) {
  if (!file.starts_with(name) || file.substr(name.size()).find('-') != 0) return false;
  const std::string_view hash = file.substr(name.size() + 1, 8);
  const std::string_view rest = file.substr(std::min(file.size(), name.size() + 9));
  return hash.size() == 8 && hash.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
         (rest.empty() || rest == ".new" || rest == ".old");
}

void remove_unheld(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  std::error_code ignored;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    // Under another name first: half of it must not be taken for the whole.
    const std::string old = path.ends_with(".old") ? path : path + ".old";
    fs::rename(path, old, ignored);
    fs::remove_all(old, ignored);
  }
  close(fd);
}

}  // namespace

CacheHolds::~CacheHolds() {
  for (const int fd : fds_) close(fd);
}

bool CacheHolds::take(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat held{}, there{};
  // Somebody may have removed it between the two.
  if (flock(fd, LOCK_SH) == 0 && fstat(fd, &held) == 0 && stat(path.c_str(), &there) == 0 &&
      held.st_ino == there.st_ino) {
    fds_.push_back(fd);
    return true;
  }
  close(fd);
  return false;
}

void remove_former(const std::string& name, const std::string& current) {
  std::vector<std::string> former;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(cache_folder(), ignored))
    if (is_made_for(entry.path().filename().string(), name) && entry.path().string() != current)
      former.push_back(entry.path().string());
  for (const std::string& path : former) remove_unheld(path);
}

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
