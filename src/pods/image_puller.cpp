#include "pods/image_puller.h"

#include <fmt/format.h>

#include <set>

#include "base/log.h"
#include "base/text.h"
#include "client/object_meta.h"
#include "cri/views/cri_v1.h"
#include "schema/json.h"

namespace dure::pods {

using kinds::core_v1::Container;
using kinds::core_v1::LocalObjectReference;
using kinds::core_v1::Pod;
using kinds::core_v1::Secret;
namespace v1 = cri::v1;

namespace {

constexpr Duration backoff_first = 10s, backoff_max = 300s;
constexpr Duration pull_timeout = 30min;
constexpr Duration error_shown = 1s;  // before the back-off takes its place

struct Login {
  std::string server, username, password, auth;
};

std::string registry_of(std::string_view image) {
  const std::string_view first = image.substr(0, image.find('/'));
  const bool has_host = image.find('/') != std::string_view::npos &&
                        (first.find_first_of(".:") != std::string_view::npos || first == "localhost");
  return has_host ? std::string(first) : "docker.io";
}

std::string server_name(std::string_view server) {
  for (std::string_view scheme : {"https://", "http://"})
    if (server.starts_with(scheme)) server.remove_prefix(scheme.size());
  server = server.substr(0, server.find('/'));
  return server == "index.docker.io" ? "docker.io" : std::string(server);
}

}  // namespace

Result<std::string> with_default_tag(std::string_view image) {
  const auto invalid = [&](std::string_view why) {
    return fail(Error{400, "InvalidImageName",
                      fmt::format("Failed to apply default image tag \"{}\": couldn't parse image name \"{}\": {}",
                                  image, image, why)});
  };
  if (image.empty()) return invalid("invalid reference format");
  const size_t slash = image.rfind('/');
  const size_t digest = image.find('@');
  const size_t colon = image.find(':', slash == std::string_view::npos ? 0 : slash);
  const std::string_view repository = image.substr(0, std::min(digest, colon));
  const std::string_view path = repository.substr(registry_of(image) == "docker.io" ? 0 : repository.find('/'));
  for (char c : path)
    if (c >= 'A' && c <= 'Z') return invalid("invalid reference format: repository name must be lowercase");
  for (char c : image)
    if (c <= ' ' || c == '"') return invalid("invalid reference format");
  if (colon != std::string_view::npos || digest != std::string_view::npos) return std::string(image);
  return std::string(image) + ":latest";
}

struct ImagePuller::State : std::enable_shared_from_this<ImagePuller::State> {
  struct Pull {
    bool in_flight = false, done = false;
    bool told = false;  // the back-off was told as an event
    Duration delay = Duration::zero();
    Monotonic failed_at;
    Waiting error;
  };
  using Id = std::pair<std::string, std::string>;  // uid, image

  State(PodsParts& parts, const PodsOptions& options, std::function<void(const client::Key&)> wake)
      : parts(parts), options(options), wake(std::move(wake)) {}

  // Ready on the node: id, or empty.
  std::optional<ImageAnswer> look(const std::string& image) {
    schema::Document request(v1::ImageStatusRequest::type());
    v1::ImageStatusRequest(request).mutable_image().set_image(image);
    auto answer = parts.runtime.call("ImageStatus", request, 30s);
    if (!answer) {
      ImageAnswer out;
      out.kind = ImageAnswer::Kind::failed;
      out.why = {"ImageInspectError", fmt::format("Failed to inspect image \"{}\": {}", image, answer.error().message)};
      out.again_after = 5s;
      return out;
    }
    const v1::Image found = v1::ImageStatusResponse(*answer).image();
    if (found.id().empty()) return std::nullopt;
    ImageAnswer out;
    out.kind = ImageAnswer::Kind::present;
    out.image_id = found.id();
    if (found.has_uid()) out.user = found.uid().value();
    out.user_is_name = !found.has_uid() && !found.username().empty();
    return out;
  }

  std::vector<Login> logins(const Pod& pod, const std::string& image) {
    std::vector<Login> out;
    for (LocalObjectReference ref : pod.spec().imagePullSecrets()) {
      auto object = parts.client.get(kinds::core_v1::secrets,
                                     {std::string(pod.metadata().namespace_()), std::string(ref.name())});
      if (!object) continue;
      const Secret secret(*object);
      auto text = base64_decode(secret.data().get(".dockerconfigjson"));
      if (!text || text->empty()) continue;
      auto config = schema::decode_json(SharedBytes(*std::move(text)));
      if (!config) continue;
      const schema::Node* auths = config->root()->find("auths");
      for (const schema::Node* entry = auths ? auths->first() : nullptr; entry; entry = entry->next()) {
        if (server_name(entry->key()) != registry_of(image)) continue;
        const auto text_of = [&](std::string_view key) {
          const schema::Node* node = entry->find(key);
          return node ? std::string(node->string()) : std::string();
        };
        out.push_back({std::string(entry->key()), text_of("username"), text_of("password"), text_of("auth")});
      }
    }
    return out;
  }

  struct Job {
    schema::Object pod;
    std::string container, image;
    Id id;
    Monotonic begun;
    std::vector<std::optional<Login>> logins;  // to try in turn; the last is none
    size_t tried = 0;
  };

  void pull(schema::Object object, std::string container, std::string image, Id id) {
    auto job = std::make_shared<Job>(
        Job{object, std::move(container), std::move(image), std::move(id), parts.executor.now(), {}});
    parts.events.normal(about_container(object, job->container), "Pulling",
                        fmt::format("Pulling image \"{}\"", job->image));
    for (Login& login : logins(Pod(object), job->image)) job->logins.emplace_back(std::move(login));
    job->logins.emplace_back(std::nullopt);
    pull_next(std::move(job));
  }

  // No thread is held while the runtime pulls.
  void pull_next(std::shared_ptr<Job> job) {
    schema::Document request(v1::PullImageRequest::type());
    v1::PullImageRequest out(request);
    out.mutable_image().set_image(job->image);
    if (const auto& login = job->logins[job->tried++]) {
      auto auth = out.mutable_auth();
      auth.set_server_address(login->server);
      if (!login->username.empty()) auth.set_username(login->username);
      if (!login->password.empty()) auth.set_password(login->password);
      if (!login->auth.empty()) auth.set_auth(login->auth);
    }
    parts.runtime.call_async("PullImage", request, pull_timeout,
                             [self = shared_from_this(), job](Result<schema::Document> answer) mutable {
                               self->parts.jobs.post([self, job, answer = std::move(answer)]() mutable {
                                 if (!answer && job->tried < job->logins.size()) return self->pull_next(std::move(job));
                                 self->pulled(*job, std::move(answer));
                               });
                             });
  }

  void pulled(const Job& job, Result<schema::Document> answer) {
    const Duration took = parts.executor.now() - job.begun;
    {
      std::lock_guard lock(mutex);
      --running;
      Pull& pull = pulls[job.id];
      pull.in_flight = false;
      if (answer) {
        pull.done = true;
        pull.delay = Duration::zero();
      } else {
        pull.delay = pull.delay == Duration::zero() ? backoff_first : std::min(pull.delay * 2, backoff_max);
        pull.failed_at = parts.executor.now();
        pull.told = false;
        pull.error = {"ErrImagePull", answer.error().message};
      }
    }
    const auto about = about_container(job.pod, job.container);
    const std::string time = format_duration(std::chrono::duration_cast<std::chrono::milliseconds>(took));
    if (answer) {
      parts.events.normal(
          about, "Pulled",
          fmt::format("Successfully pulled image \"{}\" in {} ({} including waiting)", job.image, time, time));
    } else {
      parts.events.warning(about, "Failed",
                           fmt::format("Failed to pull image \"{}\": {}", job.image, answer.error().message));
      parts.events.warning(about, "Failed", "Error: ErrImagePull");
    }
    wake(client::key_of(job.pod));
    next();
  }

  // Starts as many waiting pulls as may run.
  void next() {
    std::vector<run::Work> ready;
    {
      std::lock_guard lock(mutex);
      while (running < options.pulls_max && !waiting.empty()) {
        ++running;
        ready.push_back(std::move(waiting.front()));
        waiting.pop_front();
      }
    }
    for (run::Work& work : ready) parts.jobs.post(std::move(work));
  }

  PodsParts& parts;
  const PodsOptions& options;
  std::function<void(const client::Key&)> wake;
  std::mutex mutex;
  std::map<Id, Pull> pulls;
  std::deque<run::Work> waiting;
  int running = 0;
};

ImagePuller::ImagePuller(PodsParts& parts, const PodsOptions& options, std::function<void(const client::Key&)> wake)
    : state_(std::make_shared<State>(parts, options, std::move(wake))) {}
ImagePuller::~ImagePuller() = default;

ImageAnswer ImagePuller::ensure(const schema::Object& object, const Container& container) {
  State& state = *state_;
  const Pod pod(object);
  const auto about = about_container(object, container.name());
  ImageAnswer out;
  out.kind = ImageAnswer::Kind::failed;
  auto image = with_default_tag(container.image());
  if (!image) {
    out.why = {"InvalidImageName", image.error().message};
    state.parts.events.warning(about, "InspectFailed", image.error().message);
    return out;
  }
  const std::string_view policy = container.imagePullPolicy();
  const State::Id id{std::string(pod.metadata().uid()), *image};
  if (policy != "Always") {
    std::optional<ImageAnswer> found = state.look(*image);
    if (found && found->kind == ImageAnswer::Kind::present) {
      bool pulled = false;
      {
        std::lock_guard lock(state.mutex);
        pulled = state.pulls.erase(id) > 0;
      }
      if (!pulled)
        state.parts.events.normal(about, "Pulled",
                                  fmt::format("Container image \"{}\" already present on machine", container.image()));
      return *found;
    }
    if (found) return *found;
    if (policy == "Never") {
      out.why = {"ErrImageNeverPull",
                 fmt::format("Container image \"{}\" is not present with pull policy of Never", container.image())};
      state.parts.events.warning(about, "ErrImageNeverPull", out.why.message);
      return out;
    }
  }
  std::unique_lock lock(state.mutex);
  State::Pull& pull = state.pulls[id];
  if (pull.done) {
    state.pulls.erase(id);
    lock.unlock();
    if (auto found = state.look(*image)) return *found;
    out.why = {"ErrImagePull", "the image is gone again after it was pulled"};
    out.again_after = 1s;
    return out;
  }
  out.kind = ImageAnswer::Kind::pulling;
  if (pull.in_flight) return out;
  if (pull.delay > Duration::zero()) {
    const Duration since = state.parts.executor.now() - pull.failed_at;
    const Duration left = pull.delay - since;
    if (left > Duration::zero()) {
      out.kind = ImageAnswer::Kind::failed;
      out.why = pull.error;
      if (since < error_shown) {  // people see the error itself first, then the waiting
        out.again_after = std::min(left, error_shown - since);
        return out;
      }
      const bool told = std::exchange(pull.told, true);
      lock.unlock();
      out.again_after = left;
      out.why.message =
          fmt::format("Back-off pulling image \"{}\": {}: {}", container.image(), out.why.reason, out.why.message);
      out.why.reason = "ImagePullBackOff";
      if (told) return out;
      state.parts.events.normal(about, "BackOff", fmt::format("Back-off pulling image \"{}\"", container.image()));
      state.parts.events.warning(about, "Failed", "Error: ImagePullBackOff");
      return out;
    }
  }
  pull.in_flight = true;
  state.waiting.push_back([keep = state_, object, name = std::string(container.name()), image = *image, id]() mutable {
    keep->pull(std::move(object), std::move(name), std::move(image), std::move(id));
  });
  lock.unlock();
  state.next();
  return out;
}

void ImagePuller::forget(const std::string& uid) {
  std::lock_guard lock(state_->mutex);
  std::erase_if(state_->pulls, [&](const auto& entry) { return entry.first.first == uid && !entry.second.in_flight; });
}

}  // namespace dure::pods
