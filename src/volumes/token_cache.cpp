#include "volumes/token_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "kinds/views/authentication_v1.h"

namespace dure::volumes {

using kinds::authentication_v1::TokenRequest;
using kinds::core_v1::Pod;
using kinds::core_v1::ServiceAccountTokenProjection;

namespace {
constexpr int64_t seconds_default = 3600;
constexpr Duration age_max = 24h;
}  // namespace

TokenCache::TokenCache(client::Client& client, run::Executor& executor) : client_(client), executor_(executor) {}

Result<std::string> TokenCache::get(const schema::Object& object, const ServiceAccountTokenProjection& wanted) {
  const Pod pod(object);
  const Id id{std::string(pod.metadata().uid()), fmt::format("{}/{}", wanted.audience(), wanted.expirationSeconds())};
  const WallTime now = executor_.wall_now();
  {
    std::lock_guard lock(mutex_);
    auto found = tokens_.find(id);
    if (found != tokens_.end() && now < found->second.renew_at) return found->second.text;
  }
  auto fresh = request(object, wanted);
  std::lock_guard lock(mutex_);
  if (!fresh) {
    // A server that is away must not take tokens from pods while they are still good.
    auto found = tokens_.find(id);
    if (found != tokens_.end() && now < found->second.expires_at) return found->second.text;
    return fail(std::move(fresh).error());
  }
  tokens_[id] = *fresh;
  return fresh->text;
}

Result<TokenCache::Token> TokenCache::request(const schema::Object& object,
                                              const ServiceAccountTokenProjection& wanted) {
  const Pod pod(object);
  schema::Document document(TokenRequest::schema_type());
  TokenRequest out(document);
  document.set(document.member(document.root(), "apiVersion"), "authentication.k8s.io/v1");
  document.set(document.member(document.root(), "kind"), "TokenRequest");
  auto spec = out.mutable_spec();
  if (!wanted.audience().empty()) spec.add_audiences(wanted.audience());
  spec.set_expirationSeconds(wanted.expirationSeconds() > 0 ? wanted.expirationSeconds() : seconds_default);
  auto bound = spec.mutable_boundObjectRef();
  bound.set_kind("Pod");
  bound.set_apiVersion("v1");
  bound.set_name(pod.metadata().name());
  bound.set_uid(pod.metadata().uid());
  const std::string_view account =
      pod.spec().serviceAccountName().empty() ? "default" : pod.spec().serviceAccountName();
  DURE_TRY(
      schema::Object answer,
      client_.create_subresource(kinds::core_v1::serviceaccounts,
                                 {std::string(pod.metadata().namespace_()), std::string(account)}, "token", document));
  const auto status = TokenRequest(answer).status();
  const WallTime now = executor_.wall_now();
  Token token{std::string(status.token()), {}, parse_time(status.expirationTimestamp()).value_or(now + 1h)};
  if (token.text.empty()) return fail(internal("the server answered a token request without a token"));
  const Duration life = token.expires_at - now;
  token.renew_at = now + std::min<Duration>(life / 5 * 4, age_max);
  return token;
}

std::set<std::string> TokenCache::due() const {
  const WallTime now = executor_.wall_now();
  std::set<std::string> out;
  std::lock_guard lock(mutex_);
  for (const auto& [id, token] : tokens_)
    if (token.renew_at <= now) out.insert(id.first);
  return out;
}

void TokenCache::forget(const std::string& uid) {
  std::lock_guard lock(mutex_);
  std::erase_if(tokens_, [&](const auto& entry) { return entry.first.first == uid; });
}

}  // namespace dure::volumes
