#include "pki/service_account_token.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "pki/claims_json.h"

namespace dure::pki {
namespace {

constexpr size_t token_bytes_max = 16 << 10;

Error refused(std::string_view why) {
  return Error{.code = 401, .reason = "Unauthorized", .message = std::string(why)};
}

std::string identity_json(std::string_view name, const ObjectIdentity& identity) {
  return quote_json(name) + ":{\"name\":" + quote_json(identity.name) + ",\"uid\":" + quote_json(identity.uid) + "}";
}

std::string kubernetes_json(const ServiceAccountClaims& claims) {
  std::string text = "{\"namespace\":" + quote_json(claims.namespace_);
  if (!claims.node.empty()) text += "," + identity_json("node", claims.node);
  if (!claims.pod.empty()) text += "," + identity_json("pod", claims.pod);
  if (!claims.secret.empty()) text += "," + identity_json("secret", claims.secret);
  text += "," + identity_json("serviceaccount", claims.service_account);
  if (claims.warn_after_seconds != 0) text += ",\"warnafter\":" + std::to_string(claims.warn_after_seconds);
  return text + "}";
}

std::string claims_json(const ServiceAccountClaims& claims) {
  std::vector<std::string> audiences;
  for (const std::string& audience : claims.audiences) audiences.push_back(quote_json(audience));
  return "{\"aud\":[" + join(audiences, ",") + "],\"exp\":" + std::to_string(claims.expires_at.seconds()) +
         ",\"iat\":" + std::to_string(claims.issued_at.seconds()) + ",\"iss\":" + quote_json(claims.issuer) +
         ",\"jti\":" + quote_json(claims.id) + ",\"kubernetes.io\":" + kubernetes_json(claims) +
         ",\"nbf\":" + std::to_string(claims.not_before.seconds()) + ",\"sub\":" + quote_json(claims.subject) + "}";
}

ObjectIdentity read_identity(const Json& owner, std::string_view key) {
  const Json* value = owner.find(key);
  return value ? ObjectIdentity{value->text("name"), value->text("uid")} : ObjectIdentity{};
}

WallTime seconds_claim(const Json& claims, std::string_view key) {
  constexpr int64_t seconds_max = INT64_MAX / 1'000'000'000;
  return {std::clamp<int64_t>(claims.integer(key), 0, seconds_max) * 1'000'000'000};
}

// "aud" is one text or a list of texts.
std::vector<std::string> read_audiences(const Json& claims) {
  const Json* aud = claims.find("aud");
  std::vector<std::string> out;
  if (aud && aud->kind == Json::Kind::string) out.push_back(aud->string);
  if (aud)
    for (const Json& item : aud->items)
      if (item.kind == Json::Kind::string) out.push_back(item.string);
  return out;
}

ServiceAccountClaims read_claims(const Json& json) {
  ServiceAccountClaims claims{.issuer = json.text("iss"),
                              .subject = json.text("sub"),
                              .audiences = read_audiences(json),
                              .issued_at = seconds_claim(json, "iat"),
                              .not_before = seconds_claim(json, "nbf"),
                              .expires_at = seconds_claim(json, "exp"),
                              .id = json.text("jti"),
                              .namespace_ = {},
                              .service_account = {}};
  if (const Json* kubernetes = json.find("kubernetes.io")) {
    claims.namespace_ = kubernetes->text("namespace");
    claims.service_account = read_identity(*kubernetes, "serviceaccount");
    claims.pod = read_identity(*kubernetes, "pod");
    claims.node = read_identity(*kubernetes, "node");
    claims.secret = read_identity(*kubernetes, "secret");
    claims.warn_after_seconds = kubernetes->integer("warnafter");
  }
  return claims;
}

Status check_claims(const ServiceAccountClaims& claims, WallTime now) {
  if (claims.expires_at.nanoseconds == 0) return fail(refused("token never expires"));
  if (now >= claims.expires_at) return fail(refused("token expired at " + format_time(claims.expires_at)));
  if (now < claims.not_before) return fail(refused("token is not valid before " + format_time(claims.not_before)));
  if (claims.namespace_.empty() || claims.service_account.name.empty() || claims.service_account.uid.empty())
    return fail(refused("token names no service account"));
  if (claims.subject != service_account_user_name(claims.namespace_, claims.service_account.name))
    return fail(refused("subject and service account of the token differ"));
  return {};
}

struct Parts {
  std::string_view signed_text;
  std::string header, payload, signature;
};

Result<Parts> take_apart(std::string_view token) {
  if (token.size() > token_bytes_max) return fail(refused("token is too long"));
  const std::vector<std::string_view> parts = split(token, '.');
  if (parts.size() != 3) return fail(refused("token is not a JWT"));
  auto header = base64url_decode(parts[0]), payload = base64url_decode(parts[1]),
       signature = base64url_decode(parts[2]);
  if (!header || !payload || !signature) return fail(refused("token is not base64url"));
  return Parts{token.substr(0, parts[0].size() + 1 + parts[1].size()), std::move(*header), std::move(*payload),
               std::move(*signature)};
}

}  // namespace

std::string service_account_user_name(std::string_view namespace_, std::string_view name) {
  return "system:serviceaccount:" + std::string(namespace_) + ":" + std::string(name);
}

std::string default_issuer(std::string_view cluster_domain) {
  return "https://kubernetes.default.svc." + std::string(cluster_domain);
}

Result<std::string> sign_token(const PrivateKey& key, const ServiceAccountClaims& claims) {
  const std::string header = "{\"alg\":\"ES256\",\"kid\":" + quote_json(key.public_key().key_id()) + "}";
  std::string token = base64url_encode(header) + "." + base64url_encode(claims_json(claims));
  DURE_TRY(const std::string signature, key.sign_es256(token));
  return token + "." + base64url_encode(signature);
}

bool looks_like_jwt(std::string_view text) { return std::count(text.begin(), text.end(), '.') == 2; }

TokenVerifier::TokenVerifier(std::vector<PublicKey> keys, std::vector<std::string> issuers)
    : keys_(std::move(keys)), issuers_(std::move(issuers)) {
  for (const PublicKey& key : keys_) key_ids_.push_back(key.key_id());
}

Result<ServiceAccountClaims> TokenVerifier::verify(std::string_view token, WallTime now) const {
  DURE_TRY(const Parts parts, take_apart(token));
  const Result<Json> header = parse_json(parts.header);
  // The algorithm is fixed: what the header says can only make a token invalid, never choose how it
  // is checked.
  if (!header || header->text("alg") != "ES256") return fail(refused("token is not ES256"));
  const std::string wanted = header->text("kid");
  bool good = false;
  for (size_t i = 0; i < keys_.size() && !good; ++i)
    good = (wanted.empty() || wanted == key_ids_[i]) && keys_[i].verify_es256(parts.signed_text, parts.signature);
  if (!good) return fail(refused("signature of the token does not hold"));
  const Result<Json> payload = parse_json(parts.payload);
  if (!payload) return fail(refused("claims of the token are not JSON"));
  ServiceAccountClaims claims = read_claims(*payload);
  if (std::find(issuers_.begin(), issuers_.end(), claims.issuer) == issuers_.end())
    return fail(refused("token is of another issuer"));
  DURE_CHECK(check_claims(claims, now));
  return claims;
}

std::string TokenVerifier::key_set() const {
  std::vector<std::string> rows;
  for (size_t i = 0; i < keys_.size(); ++i) {
    // The SubjectPublicKeyInfo of a P-256 key ends with the uncompressed point: 04, x, y.
    const std::string der = keys_[i].der();
    if (der.size() < 65) continue;
    const std::string_view point = std::string_view(der).substr(der.size() - 64);
    rows.push_back("{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":" + quote_json(key_ids_[i]) +
                   ",\"crv\":\"P-256\",\"alg\":\"ES256\",\"x\":\"" + base64url_encode(point.substr(0, 32)) +
                   "\",\"y\":\"" + base64url_encode(point.substr(32)) + "\"}");
  }
  return "{\"keys\":[" + join(rows, ",") + "]}";
}

std::string discovery_document(std::string_view issuer, std::string_view key_set_url) {
  return "{\"issuer\":" + quote_json(issuer) + ",\"jwks_uri\":" + quote_json(key_set_url) +
         ",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
         "\"id_token_signing_alg_values_supported\":[\"ES256\"]}";
}

}  // namespace dure::pki
