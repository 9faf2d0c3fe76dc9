#include "pki/bootstrap_token.h"

#include <algorithm>

#include "base/text.h"
#include "os/clock.h"
#include "pki/key.h"

namespace dure::pki {
namespace {

constexpr std::string_view token_alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
constexpr size_t id_length = 6, secret_length = 16;

bool all_of_alphabet(std::string_view text) { return text.find_first_not_of(token_alphabet) == std::string_view::npos; }

bool is_group_character(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ':' || c == '-'; }

std::string signing_input(const BootstrapToken& token, std::string_view content) {
  // Member order is that of the encoder upstream uses: sorted.
  const std::string header = "{\"alg\":\"HS256\",\"kid\":\"" + token.id + "\"}";
  return base64url_encode(header) + "." + base64url_encode(content);
}

}  // namespace

Result<BootstrapToken> parse_bootstrap_token(std::string_view text) {
  const size_t dot = text.find('.');
  if (dot == id_length && text.size() == id_length + 1 + secret_length && all_of_alphabet(text.substr(0, dot)) &&
      all_of_alphabet(text.substr(dot + 1)))
    return BootstrapToken{std::string(text.substr(0, dot)), std::string(text.substr(dot + 1))};
  return fail(Error{.code = 400,
                    .reason = "InvalidToken",
                    .message = "the bootstrap token is not of the form "
                               "\"\\A([a-z0-9]{6})\\.([a-z0-9]{16})\\z\"",
                    .remedy = "dure token create"});
}

BootstrapToken generate_bootstrap_token(os::Random& random) {
  return {random.text(id_length, token_alphabet), random.text(secret_length, token_alphabet)};
}

std::vector<std::pair<std::string, std::string>> bootstrap_token_secret_data(const BootstrapToken& token,
                                                                             const BootstrapTokenFacts& facts) {
  std::vector<std::pair<std::string, std::string>> data;
  if (!facts.extra_groups.empty()) data.emplace_back("auth-extra-groups", join(facts.extra_groups, ","));
  if (!facts.description.empty()) data.emplace_back("description", facts.description);
  if (facts.expiration) data.emplace_back("expiration", format_time(*facts.expiration));
  data.emplace_back("token-id", token.id);
  data.emplace_back("token-secret", token.secret);
  if (facts.authentication) data.emplace_back("usage-bootstrap-authentication", "true");
  if (facts.signing) data.emplace_back("usage-bootstrap-signing", "true");
  return data;
}

bool is_bootstrap_group(std::string_view group) {
  constexpr std::string_view prefix = "system:bootstrappers:";
  if (!group.starts_with(prefix) || group.size() > prefix.size() + 256) return false;
  const std::string_view rest = group.substr(prefix.size());
  return !rest.empty() && std::all_of(rest.begin(), rest.end(), is_group_character) && rest.back() != ':' &&
         rest.back() != '-';
}

std::string token_digest(const BootstrapToken& token) { return hex_encode(sha256(token.text())); }

std::string sign_detached(const BootstrapToken& token, std::string_view content) {
  const std::string input = signing_input(token, content);
  const std::string header = input.substr(0, input.find('.'));
  return header + ".." + base64url_encode(hmac_sha256(token.secret, input));
}

bool verify_detached(const BootstrapToken& token, std::string_view content, std::string_view jws) {
  return equal_in_constant_time(sign_detached(token, content), jws);
}

}  // namespace dure::pki
