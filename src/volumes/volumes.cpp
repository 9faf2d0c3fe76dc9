#include "volumes/volumes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <mutex>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "client/object_meta.h"
#include "kinds/views/core_v1.h"
#include "run/gate.h"
#include "schema/quantity.h"
#include "volumes/files.h"
#include "volumes/object_source.h"
#include "volumes/payload.h"
#include "volumes/token_cache.h"

namespace dure::volumes {

using kinds::core_v1::Container;
using kinds::core_v1::PersistentVolume;
using kinds::core_v1::PersistentVolumeClaim;
using kinds::core_v1::Pod;
using kinds::core_v1::Volume;

namespace {

std::string plugin_of(const Volume& volume) {
  if (volume.has_configMap()) return "kubernetes.io~configmap";
  if (volume.has_secret()) return "kubernetes.io~secret";
  if (volume.has_projected()) return "kubernetes.io~projected";
  if (volume.has_downwardAPI()) return "kubernetes.io~downward-api";
  return "kubernetes.io~empty-dir";
}

std::string kind_of(const Volume& volume) {
  for (const schema::Node* field = volume.node() ? volume.node()->first() : nullptr; field; field = field->next())
    if (field->key() != "name") return std::string(field->key());
  return "unknown";
}

Status check_host_path(const std::string& path, std::string_view type) {
  const FileKind kind = facts_of(path).kind;
  const auto must = [&](FileKind wanted, std::string_view what) -> Status {
    if (kind == wanted) return {};
    return fail(bad_request(fmt::format("hostPath type check failed: {} is not a {}", path, what)));
  };
  if (type.empty()) return {};
  if (type == "DirectoryOrCreate")
    return kind == FileKind::none ? make_folders(path, 0755) : must(FileKind::directory, "directory");
  if (type == "FileOrCreate") return kind == FileKind::none ? write_file(path, "", 0644) : must(FileKind::file, "file");
  if (type == "Directory") return must(FileKind::directory, "directory");
  if (type == "File") return must(FileKind::file, "file");
  if (type == "Socket") return must(FileKind::socket, "socket file");
  if (type == "CharDevice") return must(FileKind::character_device, "character device");
  if (type == "BlockDevice") return must(FileKind::block_device, "block device");
  return fail(bad_request(fmt::format("{} is an invalid hostPath type", type)));
}

// Memory that a tmpfs of the pod may take: its limit, when every container has one.
std::optional<int64_t> memory_limit(const Pod& pod) {
  int64_t sum = 0;
  for (Container c : pod.spec().containers()) {
    const auto limits = c.resources().limits();
    if (!limits.contains("memory")) return std::nullopt;
    sum += schema::Quantity::read(limits.get("memory")).value();
  }
  return sum;
}

}  // namespace

struct Volumes::State : std::enable_shared_from_this<Volumes::State> {
  State(client::Client& client, run::Executor& executor_behind, run::Executor& jobs_behind, kernel::Mounts& mounts,
        PodFacts facts, VolumesOptions options)
      : client(client),
        executor(executor_behind),
        jobs(jobs_behind),
        mounts(mounts),
        facts(std::move(facts)),
        options(std::move(options)),
        tokens(client, executor),
        objects(client, executor, jobs, [this](const std::string& uid) { refresh(uid); }) {}

  std::string pod_folder(std::string_view uid) const { return fmt::format("{}/pods/{}", options.root, uid); }

  std::shared_ptr<std::mutex> lock_of(const std::string& uid) {
    std::lock_guard lock(mutex);
    auto& own = pods[uid].order;
    if (!own) own = std::make_shared<std::mutex>();
    return own;
  }

  // --- One volume

  Result<std::string> set_up(const schema::Object& object, const Volume& volume) {
    const Pod pod(object);
    if (volume.has_hostPath()) {
      const std::string path(volume.hostPath().path());
      DURE_CHECK(check_host_path(path, volume.hostPath().type()));
      return path;
    }
    if (volume.has_persistentVolumeClaim()) return claimed(object, volume);
    const std::string uid(pod.metadata().uid());
    const std::string path = fmt::format("{}/volumes/{}/{}", pod_folder(uid), plugin_of(volume), volume.name());
    if (volume.has_emptyDir()) {
      DURE_CHECK(empty_dir(pod, volume, path));
      return path;
    }
    if (!has_payload(volume))
      return fail(unsupported(fmt::format("volumes of kind {} are not built yet", kind_of(volume))));
    const PayloadSources sources{
        [&](const client::Resource& resource, const client::Key& key) { return objects.get(resource, key, uid); },
        [&](const schema::Object& p, const auto& wanted) { return tokens.get(p, wanted); }, facts};
    DURE_TRY(Payload payload, payload_of(object, volume, sources));
    if (!options.owners)
      for (auto& [name, file] : payload) file.owner.reset();
    const auto group = pod.spec().securityContext();
    auto written = write_payload(path, payload, executor.wall_now(), [&](const std::string& fresh) -> Status {
      if (!group.has_fsGroup() || !options.owners) return {};
      return give_to_group(fresh, static_cast<gid_t>(group.fsGroup()), true);
    });
    if (!written) return fail(std::move(written).error());
    return path;
  }

  Status empty_dir(const Pod& pod, const Volume& volume, const std::string& path) {
    const bool in_memory = volume.emptyDir().medium() == "Memory";
    const std::string ready = path + ".ready";  // made last: a half-made volume is made again
    if (in_memory) {
      DURE_CHECK(make_folders(path, 0755));
      DURE_TRY(bool mounted, mounts.is_mounted(path));
      if (mounted) return {};
      kernel::TmpfsOptions tmpfs;
      tmpfs.mode = "0777";
      tmpfs.size_bytes = memory_limit(pod);
      if (!volume.emptyDir().sizeLimit().empty()) {
        const int64_t limit = schema::Quantity::read(volume.emptyDir().sizeLimit()).value();
        if (limit > 0) tmpfs.size_bytes = tmpfs.size_bytes ? std::min(*tmpfs.size_bytes, limit) : limit;
      }
      DURE_CHECK(mounts.tmpfs(path, tmpfs));
    } else {
      if (facts_of(ready).kind != FileKind::none && facts_of(path).kind == FileKind::directory) return {};
      DURE_CHECK(make_folders(path, 0755));
    }
    DURE_CHECK(set_mode(path, 0777));
    if (pod.spec().securityContext().has_fsGroup() && options.owners) {
      const gid_t group = static_cast<gid_t>(pod.spec().securityContext().fsGroup());
      DURE_CHECK(set_owner(path, std::nullopt, group));
      DURE_CHECK(set_mode(path, 02777));
    }
    return in_memory ? Status{} : write_file(ready, "", 0600);
  }

  Result<std::string> claimed(const schema::Object& object, const Volume& volume) {
    const Pod pod(object);
    const std::string name(volume.persistentVolumeClaim().claimName());
    DURE_TRY(schema::Object claim_object,
             client.get(kinds::core_v1::persistentvolumeclaims, {std::string(pod.metadata().namespace_()), name}));
    const PersistentVolumeClaim claim(claim_object);
    if (claim.status().phase() != "Bound")
      return fail(unavailable(fmt::format("persistentvolumeclaim \"{}\" is not bound", name)));
    DURE_TRY(schema::Object volume_object,
             client.get(kinds::core_v1::persistentvolumes, {"", std::string(claim.spec().volumeName())}));
    const PersistentVolume persistent(volume_object);
    if (persistent.spec().has_local()) {
      const std::string path(persistent.spec().local().path());
      DURE_CHECK(check_host_path(path, "Directory"));
      return path;
    }
    if (persistent.spec().has_hostPath()) {
      const std::string path(persistent.spec().hostPath().path());
      const std::string_view type = persistent.spec().hostPath().type();
      DURE_CHECK(check_host_path(path, type.empty() ? "DirectoryOrCreate" : type));
      return path;
    }
    return fail(unsupported(
        fmt::format("the persistent volume \"{}\" is neither local nor hostPath; other kinds are not built yet",
                    persistent.metadata().name())));
  }

  // --- Keeping up to date

  void remember(const schema::Object& object) {
    std::lock_guard lock(mutex);
    pods[std::string(client::uid_of(object))].object = object;
  }

  schema::Object remembered(const std::string& uid) {
    std::lock_guard lock(mutex);
    auto found = pods.find(uid);
    return found == pods.end() ? nullptr : found->second.object;
  }

  // Contents changed or a token is due: writes the volumes again. Blocks.
  void refresh(const std::string& uid) {
    if (!remembered(uid)) return;
    auto order = lock_of(uid);
    std::lock_guard in_order(*order);
    const schema::Object object = remembered(uid);
    if (!object) return;  // unmounted while we waited for our turn
    bool whole = true;
    for (Volume volume : Pod(object).spec().volumes()) {
      if (!has_payload(volume)) continue;
      auto done = set_up(object, volume);
      whole = whole && done;
      if (!done)
        log(LogLevel::warn, "volumes", "update a volume",
            {{"pod", client::key_of(object).text()},
             {"volume", std::string(volume.name())},
             {"error", done.error().message}});
    }
    std::lock_guard lock(mutex);
    if (auto known = pods.find(uid); known != pods.end()) known->second.whole = whole;
  }

  // Whether the contents are due: the first sight after a restart, other labels or annotations, or a try that failed.
  bool take_over(const schema::Object& object) {
    const auto part = [](const schema::Object& pod, std::string_view name) {
      const schema::Node* metadata = pod ? client::metadata_of(*pod) : nullptr;
      return metadata ? metadata->find(name) : nullptr;
    };
    std::lock_guard lock(mutex);
    Known& known = pods[std::string(client::uid_of(object))];
    const bool same = known.object && known.whole &&
                      schema::equal(part(known.object, "labels"), part(object, "labels")) &&
                      schema::equal(part(known.object, "annotations"), part(object, "annotations"));
    known.object = object;
    known.whole = true;  // until the job says otherwise
    return !same;
  }

  void check_tokens_later() {
    std::lock_guard lock(mutex);
    if (closed) return;
    timer = executor.after(options.token_check, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      self->jobs.post([weak] {
        auto again = weak.lock();
        if (!again) return;
        for (const std::string& uid : again->tokens.due()) again->refresh(uid);
        again->check_tokens_later();
      });
    });
  }

  struct Known {
    schema::Object object;
    std::shared_ptr<std::mutex> order;
    bool whole = true;  // the last writing of its contents went well
  };

  client::Client& client;
  run::Gate executor, jobs;
  kernel::Mounts& mounts;
  const PodFacts facts;
  const VolumesOptions options;
  TokenCache tokens;
  std::mutex mutex;
  std::map<std::string, Known> pods;
  std::unique_ptr<run::Timer> timer;
  bool closed = false;
  ObjectSource objects;
};

Volumes::Volumes(client::Client& client, run::Executor& executor, run::Executor& jobs, kernel::Mounts& mounts,
                 PodFacts facts, VolumesOptions options)
    : state_(std::make_shared<State>(client, executor, jobs, mounts, std::move(facts), std::move(options))) {
  state_->check_tokens_later();
}

Volumes::~Volumes() {
  {
    std::lock_guard lock(state_->mutex);
    state_->closed = true;
    state_->timer.reset();
  }
  state_->executor.close();
  state_->jobs.close();
}

Result<std::map<std::string, std::string>> Volumes::mount(const schema::Object& pod) {
  const std::string uid(client::uid_of(pod));
  auto order = state_->lock_of(uid);
  std::lock_guard in_order(*order);
  std::map<std::string, std::string> out;
  for (Volume volume : Pod(pod).spec().volumes()) {
    auto path = state_->set_up(pod, volume);
    if (!path) {
      Error error = std::move(path).error();
      error.message = fmt::format("MountVolume.SetUp failed for volume \"{}\" : {}", volume.name(), error.message);
      return fail(std::move(error));
    }
    out.emplace(volume.name(), *std::move(path));
  }
  state_->remember(pod);
  return out;
}

Result<std::string> Volumes::sub_path(const schema::Object& pod, const std::string& volume, const std::string& path,
                                      const std::string& sub_path) {
  const std::string uid(client::uid_of(pod));
  auto order = state_->lock_of(uid);
  std::lock_guard in_order(*order);
  DURE_TRY(int fd, open_inside(path, sub_path, true));
  const std::string shown = fmt::format("/proc/self/fd/{}", fd);
  const std::string folder = fmt::format("{}/volume-subpaths/{}", state_->pod_folder(uid), volume);
  const std::string target = fmt::format("{}/{:016x}", folder, fnv1a_64(sub_path));
  const auto bind = [&]() -> Status {
    DURE_CHECK(make_folders(folder, 0750));
    DURE_TRY(bool mounted, state_->mounts.is_mounted(target));
    if (mounted) {
      DURE_CHECK(state_->mounts.unmount(target, true));  // containers keep what they have
    }
    DURE_CHECK(remove_tree(target));
    const bool folder_wanted = facts_of(shown).kind == FileKind::directory;
    DURE_CHECK(folder_wanted ? make_folders(target, 0750) : write_file(target, "", 0640));
    return state_->mounts.bind(shown, target);
  };
  Status done = bind();
  ::close(fd);
  if (!done) return fail(std::move(done).error().with_context("prepare subPath " + sub_path + " of volume " + volume));
  return target;
}

void Volumes::follow(const schema::Object& pod) {
  if (!state_->take_over(pod)) return;
  state_->jobs.post([weak = state_->weak_from_this(), uid = std::string(client::uid_of(pod))] {
    if (auto self = weak.lock()) self->refresh(uid);
  });
}

Status Volumes::unmount(const std::string& uid) {
  auto order = state_->lock_of(uid);
  {
    std::lock_guard in_order(*order);
    const std::string folder = state_->pod_folder(uid);
    for (const char* part : {"/volume-subpaths", "/volumes"}) {
      if (facts_of(folder + part).kind == FileKind::none) continue;
      DURE_CHECK(state_->mounts.unmount_all(folder + part));
      DURE_CHECK(remove_tree(folder + part));
    }
    state_->tokens.forget(uid);
    state_->objects.release(uid);
  }
  std::lock_guard lock(state_->mutex);
  state_->pods.erase(uid);
  return {};
}

std::vector<std::string> Volumes::uids() const {
  return names_in(state_->options.root + "/pods").value_or(std::vector<std::string>{});
}

Status Volumes::remove_tree(const std::string& path) {
  DURE_TRY(auto entries, state_->mounts.list());
  for (const kernel::MountEntry& entry : entries)
    if (entry.target == path || entry.target.starts_with(path + "/"))
      return fail(internal("remove " + path + ": " + entry.target + " is still mounted"));
  return volumes::remove_tree(path);
}

}  // namespace dure::volumes
