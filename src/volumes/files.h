// Files: folders, links, owners and modes of the real file system, for what ends up inside containers.
//
// os::Disk knows bytes that must survive; this knows who may read them. Nothing here follows a symbolic link that a
// container could have planted. Thread: any.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure::volumes {

enum class FileKind { none, file, directory, link, socket, character_device, block_device, other };

struct FileFacts {
  FileKind kind = FileKind::none;
  mode_t mode = 0;  // permission bits and setgid
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t device = 0;
};

// `follow`: of what a link points to.
FileFacts facts_of(const std::string& path, bool follow = true);
Status make_folders(const std::string& path, mode_t mode);  // existing ones keep their mode
Status set_mode(const std::string& path, mode_t mode);      // exactly, whatever the umask
Status set_owner(const std::string& path, std::optional<uid_t> uid, std::optional<gid_t> gid);  // of a link itself
Status write_file(const std::string& path, std::string_view bytes, mode_t mode);
Result<std::string> read_small_file(const std::string& path, size_t bytes_max = 4 << 20);
Status make_link(const std::string& target, const std::string& path);
Result<std::string> read_link(const std::string& path);
Status rename_over(const std::string& from, const std::string& to);
Result<std::vector<std::string>> names_in(const std::string& folder);  // sorted; a folder that is not there has none
// Removes what is there, never crossing into another file system; what is not there is success.
Status remove_tree(const std::string& path);

// Gives everything below `path` to the group, as fsGroup asks: readable (and writable) for it, folders with setgid.
Status give_to_group(const std::string& path, gid_t group, bool read_only);

// An open descriptor of `inside` below `root`; links are resolved as if `root` were the top of the world. Missing parts
// are made as folders when `make` is set. The caller closes it.
Result<int> open_inside(const std::string& root, const std::string& inside, bool make);

}  // namespace dure::volumes
