#include "volumes/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <utility>

#include "base/text.h"

namespace dure::volumes {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

FileKind kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return FileKind::file;
    case S_IFDIR:
      return FileKind::directory;
    case S_IFLNK:
      return FileKind::link;
    case S_IFSOCK:
      return FileKind::socket;
    case S_IFCHR:
      return FileKind::character_device;
    case S_IFBLK:
      return FileKind::block_device;
    default:
      return FileKind::other;
  }
}

Status check(int answer, std::string_view what) {
  if (answer < 0) return fail(from_errno(what, errno));
  return {};
}

}  // namespace

FileFacts facts_of(const std::string& path, bool follow) {
  struct stat st{};
  if ((follow ? ::stat(path.c_str(), &st) : ::lstat(path.c_str(), &st)) != 0) return {};
  return {kind_of(st.st_mode), static_cast<mode_t>(st.st_mode & 07777), st.st_uid, st.st_gid, st.st_dev};
}

Status make_folders(const std::string& path, mode_t mode) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return fail(from_errno("mkdir " + part, errno));
    if (at == std::string::npos) return {};
  }
}

Status set_mode(const std::string& path, mode_t mode) { return check(::chmod(path.c_str(), mode), "chmod " + path); }

Status set_owner(const std::string& path, std::optional<uid_t> uid, std::optional<gid_t> gid) {
  return check(::lchown(path.c_str(), uid.value_or(static_cast<uid_t>(-1)), gid.value_or(static_cast<gid_t>(-1))),
               "chown " + path);
}

Status write_file(const std::string& path, std::string_view bytes, mode_t mode) {
  Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd.get() < 0) return fail(from_errno("open " + path, errno));
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd.get(), bytes.data(), bytes.size());
    if (wrote < 0 && errno != EINTR) return fail(from_errno("write " + path, errno));
    if (wrote > 0) bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  return check(::fchmod(fd.get(), mode), "chmod " + path);
}

Result<std::string> read_small_file(const std::string& path, size_t bytes_max) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return fail(from_errno("open " + path, errno));
  std::string out;
  char block[16 << 10];
  while (true) {
    const ssize_t got = ::read(fd.get(), block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(from_errno("read " + path, errno));
    if (got == 0) return out;
    out.append(block, static_cast<size_t>(got));
    if (out.size() > bytes_max) return fail(Error{500, "FileTooLarge", "read " + path + ": too large"});
  }
}

Status make_link(const std::string& target, const std::string& path) {
  return check(::symlink(target.c_str(), path.c_str()), "symlink " + path);
}

Result<std::string> read_link(const std::string& path) {
  std::string out(4096, '\0');
  const ssize_t length = ::readlink(path.c_str(), out.data(), out.size());
  if (length < 0) return fail(from_errno("readlink " + path, errno));
  out.resize(static_cast<size_t>(length));
  return out;
}

Status rename_over(const std::string& from, const std::string& to) {
  return check(::rename(from.c_str(), to.c_str()), "rename " + from);
}

Result<std::vector<std::string>> names_in(const std::string& folder) {
  DIR* dir = ::opendir(folder.c_str());
  if (!dir) {
    if (errno == ENOENT) return std::vector<std::string>{};
    return fail(from_errno("opendir " + folder, errno));
  }
  std::vector<std::string> out;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") out.emplace_back(name);
  }
  ::closedir(dir);
  std::sort(out.begin(), out.end());
  return out;
}

namespace {

// Calls `visit(descriptor of the folder, name)` for what lies in the folder `parent`/`name`, until one fails.
Status for_each_inside(int parent, const std::string& name, const std::string& shown,
                       const std::function<Status(int, const std::string&)>& visit) {
  const int fd = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail(from_errno("open " + shown, errno));
  DIR* dir = ::fdopendir(fd);
  if (!dir) {
    const int why = errno;
    ::close(fd);
    return fail(from_errno("open " + shown, why));
  }
  Status done;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string inner = entry->d_name;
    if (inner == "." || inner == "..") continue;
    done = visit(fd, inner);
    if (!done) break;
  }
  ::closedir(dir);
  return done;
}

Status remove_below(int parent, const std::string& name, uint64_t device, const std::string& shown) {
  struct stat st{};
  if (::fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail(from_errno("stat " + shown, errno));
  }
  if (!S_ISDIR(st.st_mode)) {
    if (::unlinkat(parent, name.c_str(), 0) != 0 && errno != ENOENT) return fail(from_errno("remove " + shown, errno));
    return {};
  }
  if (st.st_dev != device) return fail(internal("remove " + shown + ": something is still mounted there"));
  DURE_CHECK(for_each_inside(parent, name, shown, [&](int folder, const std::string& inner) {
    return remove_below(folder, inner, device, shown + "/" + inner);
  }));
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return fail(from_errno("remove " + shown, errno));
  return {};
}

Status give_below(int parent, const std::string& name, gid_t group, bool read_only, const std::string& shown) {
  struct stat st{};
  if (::fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return fail(from_errno("stat " + shown, errno));
  if (::fchownat(parent, name.c_str(), static_cast<uid_t>(-1), group, AT_SYMLINK_NOFOLLOW) != 0)
    return fail(from_errno("chown " + shown, errno));
  if (S_ISLNK(st.st_mode)) return {};
  mode_t mode = (st.st_mode & 07777) | (read_only ? 0440 : 0660);
  if (S_ISDIR(st.st_mode)) mode |= S_ISGID | 0110;
  if (::fchmodat(parent, name.c_str(), mode, 0) != 0) return fail(from_errno("chmod " + shown, errno));
  if (!S_ISDIR(st.st_mode)) return {};
  return for_each_inside(parent, name, shown, [&](int folder, const std::string& inner) {
    return give_below(folder, inner, group, read_only, shown + "/" + inner);
  });
}

}  // namespace

Status remove_tree(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string parent = slash == 0 ? "/" : path.substr(0, slash);
  const FileFacts facts = facts_of(path, false);
  if (facts.kind == FileKind::none) return {};
  Descriptor fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return fail(from_errno("open " + parent, errno));
  return remove_below(fd.get(), path.substr(slash + 1), facts.device, path);
}

Status give_to_group(const std::string& path, gid_t group, bool read_only) {
  const size_t slash = path.rfind('/');
  Descriptor fd(::open(path.substr(0, slash).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return fail(from_errno("open the folder of " + path, errno));
  return give_below(fd.get(), path.substr(slash + 1), group, read_only, path);
}

namespace {

int open_in_root(int root, const char* path) {
  struct open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how));
}

}  // namespace

Result<int> open_inside(const std::string& root, const std::string& inside, bool make) {
  for (std::string_view part : split(inside, '/'))
    if (part == "..") return fail(bad_request("subPath must not contain '..'"));
  if (inside.starts_with('/')) return fail(bad_request("subPath must be a relative path"));
  Descriptor top(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (top.get() < 0) return fail(from_errno("open " + root, errno));
  Descriptor found(open_in_root(top.get(), inside.c_str()));
  if (found.get() >= 0) return found.release();
  if (errno != ENOENT || !make) return fail(from_errno("open " + inside + " in " + root, errno));
  std::string so_far;
  Descriptor parent(open_in_root(top.get(), "."));
  int last = parent.get();
  std::vector<std::unique_ptr<Descriptor>> kept;
  for (std::string_view part : split(inside, '/')) {
    if (part.empty() || part == ".") continue;
    so_far += (so_far.empty() ? "" : "/") + std::string(part);
    int next = open_in_root(top.get(), so_far.c_str());
    if (next < 0 && errno == ENOENT) {
      if (::mkdirat(last, std::string(part).c_str(), 0750) != 0 && errno != EEXIST)
        return fail(from_errno("mkdir " + so_far + " in " + root, errno));
      next = open_in_root(top.get(), so_far.c_str());
    }
    if (next < 0) return fail(from_errno("open " + so_far + " in " + root, errno));
    kept.push_back(std::make_unique<Descriptor>(next));
    last = next;
  }
  return kept.empty() ? parent.release() : kept.back()->release();
}

}  // namespace dure::volumes
