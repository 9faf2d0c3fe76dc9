#include "pods/environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/text.h"

namespace dure::pods {

using kinds::core_v1::ConfigMap;
using kinds::core_v1::Container;
using kinds::core_v1::EnvFromSource;
using kinds::core_v1::EnvVar;
using kinds::core_v1::Pod;
using kinds::core_v1::Secret;
using kinds::core_v1::Service;
using kinds::core_v1::ServicePort;

std::string expand(std::string_view text, const std::function<const std::string*(std::string_view)>& value) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '$' || at + 1 == text.size()) {
      out += text[at++];
    } else if (text[at + 1] == '$') {
      out += '$';
      at += 2;
    } else if (text[at + 1] == '(') {
      const size_t end = text.find(')', at + 2);
      if (end == std::string_view::npos) {
        out += "$(";
        at += 2;
        continue;
      }
      const std::string* found = value(text.substr(at + 2, end - at - 2));
      out += found ? std::string_view(*found) : text.substr(at, end - at + 1);
      at = end + 1;
    } else {
      out += text.substr(at, 2);
      at += 2;
    }
  }
  return out;
}

std::string expand(std::string_view text, const Environment& environment) {
  return expand(text, [&](std::string_view name) -> const std::string* {
    for (const auto& [key, value] : environment)
      if (key == name) return &value;
    return nullptr;
  });
}

namespace {

std::string variable_name(std::string_view text) {
  std::string out;
  for (char c : text) out += c == '-' ? '_' : (c >= 'a' && c <= 'z') ? static_cast<char>(c - 32) : c;
  return out;
}

void add_service(Environment& out, const Service& service) {
  const auto spec = service.spec();
  const std::string name = variable_name(service.metadata().name());
  const std::string ip(spec.clusterIP());
  const std::string host = ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
  out.emplace_back(name + "_SERVICE_HOST", ip);
  bool first = true;
  for (ServicePort port : spec.ports()) {
    const std::string number = std::to_string(port.port());
    if (first) out.emplace_back(name + "_SERVICE_PORT", number);
    first = false;
    if (!port.name().empty()) out.emplace_back(name + "_SERVICE_PORT_" + variable_name(port.name()), number);
  }
  first = true;
  for (ServicePort port : spec.ports()) {
    const std::string number = std::to_string(port.port());
    const std::string protocol = port.protocol().empty() ? "TCP" : std::string(port.protocol());
    const std::string url = fmt::format("{}://{}:{}", lower(protocol), host, number);
    const std::string prefix = fmt::format("{}_PORT_{}_{}", name, number, protocol);
    if (first) out.emplace_back(name + "_PORT", url);
    first = false;
    out.emplace_back(prefix, url);
    out.emplace_back(prefix + "_PROTO", lower(protocol));
    out.emplace_back(prefix + "_PORT", number);
    out.emplace_back(prefix + "_ADDR", ip);
  }
}

bool has_cluster_ip(const Service& service) {
  return !service.spec().clusterIP().empty() && service.spec().clusterIP() != "None";
}

}  // namespace

Environment service_environment(const Pod& pod, const std::vector<schema::Object>& services) {
  const bool links = !pod.spec().has_enableServiceLinks() || pod.spec().enableServiceLinks();
  std::map<std::string, schema::Object> chosen;
  for (const schema::Object& object : services) {
    const Service service(object);
    if (!has_cluster_ip(service)) continue;
    const std::string name(service.metadata().name());
    const bool api = service.metadata().namespace_() == "default" && name == "kubernetes";
    if (api)
      chosen.emplace(name, object);
    else if (links && service.metadata().namespace_() == pod.metadata().namespace_())
      chosen[name] = object;
  }
  Environment out;
  for (const auto& [name, object] : chosen) add_service(out, Service(object));
  return out;
}

namespace {

// Builds one container's variables; later definitions of a name replace earlier ones at their place.
class Builder {
 public:
  Builder(const Pod& pod, const Container& container, const EnvironmentSources& sources)
      : pod_(pod), container_(container), sources_(sources), services_(service_environment(pod, sources.services)) {}

  Result<Environment> run() {
    for (EnvFromSource from : container_.envFrom()) DURE_CHECK(add_from(from));
    for (EnvVar variable : container_.env()) {
      DURE_TRY(std::optional<std::string> value, value_of(variable));
      if (value) put(std::string(variable.name()), *std::move(value));
    }
    for (auto& [name, value] : services_)
      if (!find(name)) out_.emplace_back(name, value);
    return std::move(out_);
  }

 private:
  const std::string* find(std::string_view name) const {
    for (const auto& [key, value] : out_)
      if (key == name) return &value;
    return nullptr;
  }
  const std::string* find_with_services(std::string_view name) const {
    if (const std::string* own = find(name)) return own;
    for (const auto& [key, value] : services_)
      if (key == name) return &value;
    return nullptr;
  }
  void put(std::string name, std::string value) {
    for (auto& [key, old] : out_)
      if (key == name) {
        old = std::move(value);
        return;
      }
    out_.emplace_back(std::move(name), std::move(value));
  }

  Result<schema::Object> object(bool secret, std::string_view name, bool optional) {
    const auto& lookup = secret ? sources_.secret : sources_.config_map;
    schema::Object found = lookup ? lookup(pod_.metadata().namespace_(), name) : nullptr;
    if (!found && !optional)
      return fail(Error{404, "NotFound", fmt::format("{} \"{}\" not found", secret ? "secret" : "configmap", name)});
    return found;
  }

  void put_all(std::string_view prefix, const auto& map, bool encoded) {
    for (const auto& [key, value] : map) {
      if (key.empty() || key.find('=') != std::string_view::npos) continue;
      std::string text(value);
      if (encoded) text = base64_decode(text).value_or(std::string());
      put(std::string(prefix) + std::string(key), std::move(text));
    }
  }

  Status add_from(const EnvFromSource& from) {
    if (from.has_configMapRef()) {
      DURE_TRY(schema::Object found, object(false, from.configMapRef().name(), from.configMapRef().optional()));
      if (found) put_all(from.prefix(), ConfigMap(found).data(), false);
    } else if (from.has_secretRef()) {
      DURE_TRY(schema::Object found, object(true, from.secretRef().name(), from.secretRef().optional()));
      if (found) put_all(from.prefix(), Secret(found).data(), true);
    }
    return {};
  }

  // nullopt: optional and not there, the variable is left out.
  Result<std::optional<std::string>> value_of(const EnvVar& variable) {
    if (!variable.has_valueFrom())
      return expand(variable.value(), [&](std::string_view name) { return find_with_services(name); });
    const auto from = variable.valueFrom();
    if (from.has_fieldRef())
      return as_optional(field_value(pod_, from.fieldRef().fieldPath(), sources_.node, sources_.pod_ips));
    if (from.has_resourceFieldRef()) {
      const auto ref = from.resourceFieldRef();
      const std::string_view name = ref.containerName().empty() ? container_.name() : ref.containerName();
      return as_optional(resource_value(pod_, name, ref.resource(), ref.divisor(), sources_.node));
    }
    if (from.has_configMapKeyRef()) {
      const auto ref = from.configMapKeyRef();
      DURE_TRY(schema::Object found, object(false, ref.name(), ref.optional()));
      if (!found) return std::nullopt;
      const ConfigMap map(found);
      if (map.data().contains(ref.key())) return std::string(map.data().get(ref.key()));
      return missing_key("ConfigMap", ref.name(), ref.key(), ref.optional());
    }
    if (from.has_secretKeyRef()) {
      const auto ref = from.secretKeyRef();
      DURE_TRY(schema::Object found, object(true, ref.name(), ref.optional()));
      if (!found) return std::nullopt;
      const Secret secret(found);
      if (secret.data().contains(ref.key())) {
        DURE_TRY(std::string bytes, base64_decode(secret.data().get(ref.key())));
        return bytes;
      }
      return missing_key("Secret", ref.name(), ref.key(), ref.optional());
    }
    return std::string();
  }

  static Result<std::optional<std::string>> as_optional(Result<std::string> value) {
    if (!value) return fail(std::move(value).error());
    return std::optional<std::string>(*std::move(value));
  }

  Result<std::optional<std::string>> missing_key(std::string_view kind, std::string_view name, std::string_view key,
                                                 bool optional) {
    if (optional) return std::nullopt;
    return fail(Error{404, "NotFound",
                      fmt::format("couldn't find key {} in {} {}/{}", key, kind, pod_.metadata().namespace_(), name)});
  }

  const Pod& pod_;
  const Container& container_;
  const EnvironmentSources& sources_;
  const Environment services_;
  Environment out_;
};

}  // namespace

Result<Environment> environment(const Pod& pod, const Container& container, const EnvironmentSources& sources) {
  return Builder(pod, container, sources).run();
}

}  // namespace dure::pods
