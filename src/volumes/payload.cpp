#include "volumes/payload.h"

#include <fmt/format.h>

#include "base/text.h"

namespace dure::volumes {

using kinds::core_v1::ConfigMap;
using kinds::core_v1::Container;
using kinds::core_v1::DownwardAPIVolumeFile;
using kinds::core_v1::KeyToPath;
using kinds::core_v1::Pod;
using kinds::core_v1::Secret;
using kinds::core_v1::Volume;
using kinds::core_v1::VolumeProjection;

namespace {

constexpr int64_t default_mode = 0644;

// Key -> bytes of a ConfigMap or Secret.
using Contents = std::map<std::string, std::string>;

Contents contents_of(const schema::Object& object, bool secret) {
  Contents out;
  if (secret) {
    for (const auto& [key, value] : Secret(object).data())
      out[std::string(key)] = base64_decode(value).value_or(std::string());
    return out;
  }
  const ConfigMap map(object);
  for (const auto& [key, value] : map.data()) out[std::string(key)] = std::string(value);
  for (const auto& [key, value] : map.binaryData())
    out[std::string(key)] = base64_decode(value).value_or(std::string());
  return out;
}

class Maker {
 public:
  Maker(const schema::Object& object, const PayloadSources& sources)
      : object_(object), pod_(object), sources_(sources) {}

  Result<Payload> run(const Volume& volume) {
    if (volume.has_configMap()) {
      const auto v = volume.configMap();
      DURE_CHECK(add_object(false, v.name(), v.items(), mode_of(v), v.optional()));
    } else if (volume.has_secret()) {
      const auto v = volume.secret();
      DURE_CHECK(add_object(true, v.secretName(), v.items(), mode_of(v), v.optional()));
    } else if (volume.has_downwardAPI()) {
      for (DownwardAPIVolumeFile file : volume.downwardAPI().items())
        DURE_CHECK(add_downward(file, mode_of(volume.downwardAPI())));
    } else if (volume.has_projected()) {
      const int64_t mode = mode_of(volume.projected());
      for (VolumeProjection source : volume.projected().sources()) DURE_CHECK(add_projection(source, mode));
    }
    return std::move(out_);
  }

 private:
  template <class Source>
  static int64_t mode_of(const Source& source) {
    return source.has_defaultMode() ? source.defaultMode() : default_mode;
  }

  void put(std::string_view path, std::string bytes, int64_t mode, std::optional<uid_t> owner = {}) {
    out_[std::string(path)] = {std::move(bytes), static_cast<mode_t>(mode), owner};
  }

  Status add_object(bool secret, std::string_view name, const auto& items, int64_t mode, bool optional) {
    const auto& resource = secret ? kinds::core_v1::secrets : kinds::core_v1::configmaps;
    DURE_TRY(schema::Object found,
             sources_.object(resource, {std::string(pod_.metadata().namespace_()), std::string(name)}));
    if (!found) {
      if (optional) return {};
      return fail(Error{404, "NotFound", fmt::format("{} \"{}\" not found", secret ? "secret" : "configmap", name)});
    }
    const Contents contents = contents_of(found, secret);
    if (items.size() == 0) {
      for (const auto& [key, bytes] : contents) put(key, bytes, mode);
      return {};
    }
    for (KeyToPath item : items) {
      auto value = contents.find(std::string(item.key()));
      if (value == contents.end()) {
        if (optional) continue;
        return fail(Error{404, "NotFound",
                          fmt::format("references non-existent {} key: {}", secret ? "secret" : "config", item.key())});
      }
      put(item.path(), value->second, item.has_mode() ? item.mode() : mode);
    }
    return {};
  }

  Status add_downward(const DownwardAPIVolumeFile& file, int64_t mode) {
    if (file.has_mode()) mode = file.mode();
    if (file.has_fieldRef()) {
      DURE_TRY(std::string value, sources_.facts.field(object_, file.fieldRef().fieldPath()));
      put(file.path(), std::move(value), mode);
    } else if (file.has_resourceFieldRef()) {
      const auto ref = file.resourceFieldRef();
      DURE_TRY(std::string value, sources_.facts.resource(object_, ref.containerName(), ref.resource(), ref.divisor()));
      put(file.path(), std::move(value), mode);
    }
    return {};
  }

  Status add_projection(const VolumeProjection& source, int64_t mode) {
    if (source.has_configMap()) {
      const auto v = source.configMap();
      return add_object(false, v.name(), v.items(), mode, v.optional());
    }
    if (source.has_secret()) {
      const auto v = source.secret();
      return add_object(true, v.name(), v.items(), mode, v.optional());
    }
    if (source.has_downwardAPI()) {
      for (DownwardAPIVolumeFile file : source.downwardAPI().items()) DURE_CHECK(add_downward(file, mode));
      return {};
    }
    if (source.has_serviceAccountToken()) {
      DURE_TRY(std::string token, sources_.token(object_, source.serviceAccountToken()));
      const std::optional<uid_t> user = single_user(pod_);
      const bool narrow = user || pod_.spec().securityContext().has_fsGroup();
      put(source.serviceAccountToken().path(), std::move(token), narrow ? 0600 : mode, user);
      return {};
    }
    return fail(unsupported("this kind of projected source is not built yet"));
  }

  const schema::Object& object_;
  const Pod pod_;
  const PayloadSources& sources_;
  Payload out_;
};

}  // namespace

bool has_payload(const Volume& volume) {
  return volume.has_configMap() || volume.has_secret() || volume.has_downwardAPI() || volume.has_projected();
}

Result<Payload> payload_of(const schema::Object& pod, const Volume& volume, const PayloadSources& sources) {
  return Maker(pod, sources).run(volume);
}

std::optional<uid_t> single_user(const Pod& pod) {
  std::optional<uid_t> user;
  bool mixed = false;
  const auto add = [&](const Container& c) {
    std::optional<uid_t> own;
    if (c.securityContext().has_runAsUser())
      own = static_cast<uid_t>(c.securityContext().runAsUser());
    else if (pod.spec().securityContext().has_runAsUser())
      own = static_cast<uid_t>(pod.spec().securityContext().runAsUser());
    if (!own || (user && *user != *own)) mixed = true;
    user = own;
  };
  for (Container c : pod.spec().initContainers()) add(c);
  for (Container c : pod.spec().containers()) add(c);
  return mixed ? std::nullopt : user;
}

}  // namespace dure::volumes
