// ImagePuller: sees that an image is on the node before a container starts. Pulls run as jobs, a few at a time; a
// failed pull is tried again after 10 s doubling to 5 min.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "kinds/views/core_v1.h"
#include "pods/parts.h"

namespace dure::pods {

struct ImageAnswer {
  enum class Kind { present, pulling, failed } kind = Kind::pulling;
  std::string image_id;
  std::optional<int64_t> user;          // numeric user the image asks for
  bool user_is_name = false;            // the image names a user we cannot check
  Waiting why;                          // failed
  std::optional<Duration> again_after;  // failed: when it is worth asking again
};

class ImagePuller {
 public:
  // `wake` looks at the pod again when a pull has ended.
  ImagePuller(PodsParts& parts, const PodsOptions& options, std::function<void(const client::Key&)> wake);
  ~ImagePuller();
  // Blocks for one ImageStatus call at most. Thread: any.
  ImageAnswer ensure(const schema::Object& pod, const kinds::core_v1::Container& container);
  void forget(const std::string& uid);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// "busybox" -> "busybox:latest"; an error for names no registry takes.
Result<std::string> with_default_tag(std::string_view image);

}  // namespace dure::pods
