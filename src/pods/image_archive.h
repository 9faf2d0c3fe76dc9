// Image archives made from memory: an OCI image layout as one tar, as `ctr images import` and other tools read it. The
// same input gives the same bytes, and so the same digests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dure::pods {

struct ImageFile {
  std::string path;  // "bin/busybox"; folders on the way are made
  std::string bytes;
  int mode = 0755;
  std::string link_target;  // a symbolic link when not empty
};

struct ImageRecipe {
  std::string name;  // "registry.k8s.io/pause:3.10"
  std::vector<ImageFile> files;
  std::vector<std::string> entrypoint, command;
  std::vector<std::string> environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  std::string user, working_directory;
  std::string architecture;  // "amd64"; empty: of this program
};

std::string image_archive(const ImageRecipe& recipe);

// The image of pods' sandboxes: one static program, embedded in this binary.
inline constexpr std::string_view pause_image_name = "dure.dev/pause:1";
std::string pause_image_archive();
std::string_view pause_program();

// The image of the pods that `dure verify` makes (witness/witness.c).
inline constexpr std::string_view witness_image_name = "dure.dev/witness:1";
std::string witness_image_archive();
std::string_view witness_program();

std::string this_architecture();  // "amd64", "arm64": as images and nodes name it

// Gives an archive to containerd through its own tool `ctr` (must be on the PATH); blocks. endpoint:
// "unix:///run/containerd/containerd.sock".
Status import_image(const std::string& endpoint, std::string_view archive, Duration timeout = 60s);

}  // namespace dure::pods
