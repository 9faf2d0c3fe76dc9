#include "controllers/token_cleaner.h"

#include "base/text.h"

namespace dure::controllers {
namespace {

bool is_token(const Object& secret) {
  return client::namespace_of(secret) == "kube-system" &&
         core::Secret(secret).type() == "bootstrap.kubernetes.io/token";
}

}  // namespace

LoopSpec token_cleaner(Client& client, Caches& caches) {
  Cache& secrets = caches.of(core::secrets);
  run::Executor& executor = caches.executor();
  LoopSpec spec;
  spec.name = "token-cleaner";
  spec.watches = {{&core::secrets,
                   [](const Object& secret, const Enqueue& enqueue) {
                     if (is_token(secret)) enqueue(client::key_of(secret));
                   },
                   {}}};
  spec.owns = {"deletion of expired bootstrap tokens"};
  spec.reconcile = [&client, &secrets, &executor](const Key& key) {
    const Object secret = secrets.get(key);
    if (!secret || !is_token(secret)) return Outcome::done();
    const std::string_view encoded = core::Secret(secret).data().get("expiration");
    if (encoded.empty()) return Outcome::done();  // lives for ever
    const auto text = base64_decode(encoded);
    const auto expires = text ? parse_time(*text) : std::nullopt;
    // What cannot be read is treated as expired, like upstream: a token must not live by a typing error.
    const Duration left = expires ? *expires - executor.wall_now() : Duration::zero();
    if (left > Duration::zero()) return Outcome::after(left);
    client::DeleteOptions options;
    options.precondition_uid = std::string(client::uid_of(secret));
    Status removed = client.remove(core::secrets, key, options);
    if (removed || removed.error().code == 404) return Outcome::done();
    return Outcome::failed(std::move(removed).error());
  };
  return spec;
}

}  // namespace dure::controllers
