#include "kernel/mounts.h"

#include <errno.h>
#include <sys/mount.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "kernel/netlink.h"

namespace dure::kernel {

namespace {

// Spaces and the like are written as \040.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    auto digit = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

unsigned long propagation_flag(Propagation propagation) {
  switch (propagation) {
    case Propagation::private_:
      return MS_PRIVATE;
    case Propagation::shared:
      return MS_SHARED;
    case Propagation::slave:
      return MS_SLAVE;
  }
  return MS_PRIVATE;
}

Status do_mount(std::string_view what, const char* source, const std::string& target, const char* type,
                unsigned long flags, const char* data) {
  if (::mount(source, target.c_str(), type, flags, data) < 0)
    return fail(netlink::error_of(std::string(what) + " " + target, errno));
  return {};
}

class LinuxMounts final : public Mounts {
 public:
  Result<std::vector<MountEntry>> list() override {
    std::ifstream in("/proc/self/mountinfo");
    if (!in) return fail(internal("cannot read /proc/self/mountinfo"));
    std::stringstream text;
    text << in.rdbuf();
    return parse_mountinfo(text.str());
  }

  Status mount(const MountRequest& request) override {
    unsigned long flags = (request.read_only ? MS_RDONLY : 0) | (request.no_exec ? MS_NOEXEC : 0) |
                          (request.no_suid ? MS_NOSUID : 0) | (request.no_dev ? MS_NODEV : 0);
    return do_mount("mount", request.source.c_str(), request.target, request.type.c_str(), flags,
                    request.data.empty() ? nullptr : request.data.c_str());
  }

  Status bind(const std::string& source, const std::string& target, const BindOptions& options) override {
    unsigned long flags = MS_BIND | (options.recursive ? MS_REC : 0);
    DURE_CHECK(do_mount("bind " + source + " to", source.c_str(), target, nullptr, flags, nullptr));
    // A bind takes no other flags on the first call; read-only is a second step.
    if (options.read_only)
      DURE_CHECK(do_mount("make read-only", nullptr, target, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr));
    if (options.propagation) return set_propagation(target, *options.propagation, options.recursive);
    return {};
  }

  Status tmpfs(const std::string& target, const TmpfsOptions& options) override {
    std::string data = "mode=" + options.mode;
    if (options.size_bytes) data += ",size=" + std::to_string(*options.size_bytes);
    if (options.huge_pages) data += ",huge=within_size";
    return do_mount("mount tmpfs on", "tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, data.c_str());
  }

  Status set_propagation(const std::string& target, Propagation propagation, bool recursive) override {
    return do_mount("change propagation of", nullptr, target, nullptr,
                    propagation_flag(propagation) | (recursive ? MS_REC : 0), nullptr);
  }

  Status unmount(const std::string& target, bool lazy) override {
    if (umount2(target.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) return {};
    if (errno == EINVAL || errno == ENOENT) return {};  // not a mount point
    return fail(netlink::error_of("unmount " + target, errno));
  }
};

}  // namespace

Result<bool> Mounts::is_mounted(const std::string& target) {
  DURE_TRY(std::vector<MountEntry> entries, list());
  return std::ranges::any_of(entries, [&](const MountEntry& e) { return e.target == target; });
}

Status Mounts::unmount_all(const std::string& target) {
  DURE_TRY(std::vector<MountEntry> entries, list());
  // Later lines lie on top of earlier ones.
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry)
    if (entry->target == target || entry->target.starts_with(target + "/")) DURE_CHECK(unmount(entry->target));
  return {};
}

std::unique_ptr<Mounts> linux_mounts() { return std::make_unique<LinuxMounts>(); }

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> out;
  for (std::string_view line : split(text, '\n')) {
    std::vector<std::string_view> words = split(line, ' ');
    auto dash = std::ranges::find(words, "-");
    if (words.size() < 10 || words.end() - dash < 4) continue;
    MountEntry entry;
    entry.id = static_cast<int>(parse_int(words[0]).value_or(0));
    entry.parent = static_cast<int>(parse_int(words[1]).value_or(0));
    entry.root = unescape(words[3]);
    entry.target = unescape(words[4]);
    entry.options = words[5];
    entry.shared = std::any_of(words.begin() + 6, dash, [](auto word) { return word.starts_with("shared:"); });
    entry.type = dash[1];
    entry.source = unescape(dash[2]);
    entry.super_options = dash[3];
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace dure::kernel
