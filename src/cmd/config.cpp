#include <cstdio>
#include <memory>

#include "cmd/door.h"
#include "host/runtime_setup.h"

namespace dure::cmd {

// kubeadm's verbs, for notes are full of them. There is little to say: the control plane is this program.
Door config_door() {
  auto socket = std::make_shared<std::string>();
  Door list{.name = "list", .summary = "Print the images that dure itself needs", .run = []() -> Result<int> {
              for (const std::string& name : host::own_images()) printf("%s\n", name.c_str());
              return 0;
            }};
  Door pull{
      .name = "pull",
      .summary = "Nothing to do: the images are inside this program",
      .flags = {{"--cri-socket", socket.get(), "Accepted and not needed"}},
      .run = [socket]() -> Result<int> {
        printf("[config/images] nothing to pull: the agent brings its images along and gives them to the runtime\n");
        return 0;
      }};
  Door images{.name = "images", .summary = "Images of dure itself", .doors = {list, pull}};
  return {.name = "config", .summary = "What kubeadm config has and makes sense here", .doors = {images}};
}

}  // namespace dure::cmd
