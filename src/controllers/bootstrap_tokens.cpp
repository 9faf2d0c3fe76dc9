#include "controllers/bootstrap_tokens.h"

#include <algorithm>
#include <map>

#include "base/text.h"

namespace dure::controllers {
namespace {

constexpr std::string_view token_namespace = "kube-system", signature_prefix = "jws-kubeconfig-";
const Key cluster_info{"kube-public", "cluster-info"};
const Key expired_tokens{std::string(token_namespace), std::string(expired_tokens_name)};

bool is_token(const Object& secret) {
  return client::namespace_of(secret) == token_namespace &&
         core::Secret(secret).type() == "bootstrap.kubernetes.io/token";
}

std::string value_of(const Object& secret, std::string_view key) {
  return base64_decode(core::Secret(secret).data().get(key)).value_or(std::string());
}

// Empty: lives for ever. What cannot be read is treated as expired, like upstream: a token must not live by a typing
// error.
std::optional<WallTime> end_of(const Object& secret) {
  if (core::Secret(secret).data().get("expiration").empty()) return std::nullopt;
  return parse_time(value_of(secret, "expiration")).value_or(WallTime{});
}

std::string merge_patch(const std::map<std::string, std::optional<std::string>>& values) {
  std::string body;
  for (const auto& [key, value] : values)
    body += (body.empty() ? "\"" : ",\"") + key + "\":" + (value ? "\"" + *value + "\"" : "null");
  return R"({"data":{)" + body + "}}";
}

Status status_of(Result<Object> written) {
  if (!written) return fail(std::move(written).error());
  return {};
}

class Signer {
 public:
  Signer(Client& client, Caches& caches, TokenKeys keys)
      : client_(client),
        executor_(caches.executor()),
        maps_(caches.of(core::configmaps)),
        secrets_(caches.of(core::secrets)),
        keys_(std::move(keys)) {}

  Outcome reconcile() {
    const Object map = maps_.get(cluster_info);
    if (!map) return Outcome::done();
    const auto data = core::ConfigMap(map).data();
    std::optional<WallTime> next_end;
    const auto wanted = signatures(std::string(data.get("kubeconfig")), next_end);
    std::map<std::string, std::optional<std::string>> changes;
    for (const auto& [key, value] : data)
      if (key.starts_with(signature_prefix) && !wanted.contains(std::string(key))) changes[std::string(key)] = {};
    for (const auto& [key, signature] : wanted)
      if (data.get(key) != signature) changes[key] = signature;
    if (!changes.empty()) {
      const Status written =
          status_of(client_.patch(core::configmaps, cluster_info, client::PatchType::merge, merge_patch(changes)));
      if (!written) return outcome_of(written);
    }
    return next_end ? Outcome::after(*next_end - executor_.wall_now()) : Outcome::done();
  }

 private:
  std::map<std::string, std::string> signatures(const std::string& text, std::optional<WallTime>& next_end) {
    std::map<std::string, std::string> out;
    if (text.empty()) return out;
    const WallTime now = executor_.wall_now();
    for (const Object& secret : secrets_.list()) {
      if (!is_token(secret) || client::is_terminating(secret)) continue;
      const std::string id = value_of(secret, "token-id"), key = value_of(secret, "token-secret");
      if (key.empty() || client::name_of(secret) != "bootstrap-token-" + id ||
          value_of(secret, "usage-bootstrap-signing") != "true")
        continue;
      const auto end = end_of(secret);
      if (end && *end <= now) continue;
      if (end && (!next_end || *end < *next_end)) next_end = end;
      out[std::string(signature_prefix) + id] = keys_.sign(id, key, text);
    }
    return out;
  }

  Client& client_;
  run::Executor& executor_;
  Cache& maps_;
  Cache& secrets_;
  const TokenKeys keys_;
};

class Cleaner {
 public:
  Cleaner(Client& client, Caches& caches, TokenKeys keys)
      : client_(client), executor_(caches.executor()), secrets_(caches.of(core::secrets)), keys_(std::move(keys)) {}

  Outcome reconcile(const Key& key) {
    const Object secret = secrets_.get(key);
    if (!secret || !is_token(secret)) return Outcome::done();
    const auto end = end_of(secret);
    if (!end) return Outcome::done();
    const Duration left = *end - executor_.wall_now();
    if (left > Duration::zero()) return Outcome::after(left);
    if (Status remembered = remember(secret, *end); !remembered) return Outcome::failed(std::move(remembered).error());
    client::DeleteOptions options;
    options.precondition_uid = std::string(client::uid_of(secret));
    return outcome_of(client_.remove(core::secrets, key, options));
  }

 private:
  Status remember(const Object& secret, WallTime end) {
    const std::string id = value_of(secret, "token-id"), key = value_of(secret, "token-secret");
    // A Secret of another name is no token of that id, and its id may be anything.
    if (!keys_.digest || key.empty() || client::name_of(secret) != "bootstrap-token-" + id) return {};
    const std::string row = base64_encode(format_time(end) + " " + keys_.digest(id, key));
    const Object memory = secrets_.get(expired_tokens);
    if (!memory) return make_memory(id, row);
    std::map<std::string, std::optional<std::string>> changes{{id, row}};
    std::vector<std::pair<std::string, std::string>> rows;  // time text, id: oldest first when sorted
    for (const auto& [name, value] : core::Secret(memory).data())
      rows.emplace_back(base64_decode(value).value_or(std::string()), std::string(name));
    std::ranges::sort(rows);
    for (size_t i = 0; i + expired_tokens_max <= rows.size(); ++i)
      if (rows[i].second != id) changes[rows[i].second] = {};
    return status_of(client_.patch(core::secrets, expired_tokens, client::PatchType::merge, merge_patch(changes)));
  }

  Status make_memory(const std::string& id, const std::string& row) {
    Document document(core::Secret::schema_type());
    core::Secret secret(document);
    secret.mutable_metadata().set_name(expired_tokens_name);
    secret.mutable_metadata().set_namespace(token_namespace);
    secret.set_type("Opaque");
    secret.set_data(id, row);
    return status_of(client_.create(core::secrets, document, token_namespace));
  }

  Client& client_;
  run::Executor& executor_;
  Cache& secrets_;
  const TokenKeys keys_;
};

}  // namespace

LoopSpec cluster_info_signer(Client& client, Caches& caches, TokenKeys keys) {
  auto signer = std::make_shared<Signer>(client, caches, std::move(keys));
  LoopSpec spec;
  spec.name = "cluster-info-signer";
  spec.watches = {{&core::configmaps,
                   [](const Object& map, const Enqueue& enqueue) {
                     if (client::key_of(map) == cluster_info) enqueue(cluster_info);
                   },
                   {}},
                  {&core::secrets,
                   [](const Object& secret, const Enqueue& enqueue) {
                     if (is_token(secret)) enqueue(cluster_info);
                   },
                   {}}};
  spec.owns = {"jws-kubeconfig-* of kube-public/cluster-info"};
  spec.reconcile = [signer](const Key&) { return signer->reconcile(); };
  return spec;
}

LoopSpec token_cleaner(Client& client, Caches& caches, TokenKeys keys) {
  auto cleaner = std::make_shared<Cleaner>(client, caches, std::move(keys));
  LoopSpec spec;
  spec.name = "token-cleaner";
  spec.watches = {{&core::secrets,
                   [](const Object& secret, const Enqueue& enqueue) {
                     if (is_token(secret)) enqueue(client::key_of(secret));
                   },
                   {}}};
  spec.owns = {"deletion of expired bootstrap tokens"};
  spec.reconcile = [cleaner](const Key& key) { return cleaner->reconcile(key); };
  return spec;
}

}  // namespace dure::controllers
