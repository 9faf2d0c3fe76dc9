#include <errno.h>

#include "os/disk.h"
#include "os/disk_error.h"

namespace dure::os {
namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Error disk_error(std::string_view what, int errno_value) {
  Error error = from_errno(what, errno_value);
  switch (errno_value) {
    case ENOENT:
      error.reason = "FileNotFound";
      break;
    case EEXIST:
      error.reason = "FileExists";
      break;
    case ENOSPC:
    case EDQUOT:
      error.reason = "DiskFull";
      break;
    case EIO:
      error.reason = "DiskError";
      break;
    default:
      error.reason = "SystemError";
      break;
  }
  return error;
}

Status File::write_through(uint64_t offset, std::string_view bytes) {
  DURE_CHECK(write_at(offset, bytes));
  return sync();
}

Result<std::string> read_file(Disk& disk, const std::string& path, size_t bytes_max) {
  DURE_TRY(const auto file, disk.open(path, OpenMode::read));
  std::string text;
  // The size is a hint only: files under /proc say 0.
  DURE_TRY(const uint64_t size, file->size());
  size_t want = size > 0 ? size_t(std::min<uint64_t>(size, bytes_max)) + 1 : 4096;
  for (;;) {
    const size_t old_size = text.size();
    text.resize(old_size + want);
    DURE_TRY(const size_t got, file->read_at(old_size, std::span(text).subspan(old_size)));
    text.resize(old_size + got);
    if (text.size() > bytes_max)
      return fail(Error{.reason = "FileTooLarge",
                        .message = "read " + path + ": larger than " + std::to_string(bytes_max) + " bytes"});
    if (got < want) return text;
    want = text.size();
  }
}

Status write_file_atomic(Disk& disk, const std::string& path, std::string_view bytes, int permissions) {
  const std::string beside = path + ".new";
  if (disk.exists(beside)) {
    DURE_CHECK(disk.remove(beside));
  }
  {
    DURE_TRY(const auto file, disk.open(beside, OpenMode::create_new, permissions));
    DURE_CHECK(file->write_at(0, bytes));
    DURE_CHECK(file->sync());
  }
  DURE_CHECK(disk.rename(beside, path));
  return disk.sync_directory(folder_of(path));
}

}  // namespace dure::os
