#include <unistd.h>

#include <cstdio>
#include <memory>

#include "bootstrap/tokens.h"
#include "cmd/door.h"
#include "cmd/kubernetes_client.h"
#include "os/clock.h"
#include "pki/certificate.h"

namespace dure::cmd {
namespace {

struct TokenFlags {
  std::string kubeconfig, token, ttl = "24h0m0s", description, wait = "0s";
  std::vector<std::string> groups{std::string(pki::bootstrap_default_group)}, usages{"signing", "authentication"};
  bool print_join_command = false;
};

Result<pki::BootstrapTokenFacts> facts_of(const TokenFlags& flags) {
  pki::BootstrapTokenFacts facts;
  facts.description = flags.description;
  facts.extra_groups = flags.groups;
  facts.signing = facts.authentication = false;
  for (const std::string& group : flags.groups)
    if (!pki::is_bootstrap_group(group))
      return fail(Error{400, "BadGroup",
                        "--groups: a token's group begins with system:bootstrappers:, not \"" + group + "\"",
                        "--groups " + std::string(pki::bootstrap_default_group)});
  for (const std::string& usage : flags.usages) {
    if (usage != "signing" && usage != "authentication")
      return fail(Error{400, "BadUsage",
                        "--usages: a token is for signing and authentication, not for \"" + usage + "\"",
                        "--usages signing,authentication"});
    (usage == "signing" ? facts.signing : facts.authentication) = true;
  }
  return facts;
}

// A server that was started a moment ago may still be on its way.
Status create_patiently(Administrator& admin, const pki::BootstrapToken& token, const pki::BootstrapTokenFacts& facts,
                        Duration patience) {
  const auto clock = os::make_clock();
  const Monotonic until = clock->now() + patience;
  for (bool again = false;; again = true) {
    Status created = bootstrap::create_token(admin.api(), token, facts);
    if (again && !created && created.error().is("AlreadyExists")) return {};  // an attempt whose answer was lost
    if (!created && !again && patience > Duration::zero())
      fprintf(stderr, "waiting for the server: %s\n", created.error().message.c_str());
    if (created || created.error().is("AlreadyExists") || created.error().is("Forbidden") || clock->now() >= until)
      return created;
    usleep(50'000);
  }
}

Result<int> create(const TokenFlags& flags) {
  const auto ttl = parse_duration(flags.ttl), wait = parse_duration(flags.wait);
  if (!ttl || *ttl < Duration::zero())
    return fail(bad_request("--ttl: \"" + flags.ttl + "\" is not a duration such as 24h or 30m"));
  if (!wait) return fail(bad_request("--wait: \"" + flags.wait + "\" is not a duration"));
  pki::BootstrapToken token;
  if (flags.token.empty()) {
    token = pki::generate_bootstrap_token(*os::make_random());
  } else {
    DURE_TRY(token, pki::parse_bootstrap_token(flags.token));
  }
  DURE_TRY(pki::BootstrapTokenFacts facts, facts_of(flags));
  if (*ttl > Duration::zero()) facts.expiration = os::make_clock()->wall_now() + *ttl;
  DURE_TRY(const auto admin, Administrator::open(flags.kubeconfig));
  DURE_CHECK(create_patiently(*admin, token, facts, *wait));
  if (!flags.print_join_command) {
    printf("%s\n", token.text().c_str());
    return 0;
  }
  DURE_TRY(const pki::Certificate ca, pki::Certificate::from_pem(admin->ca_pem()));
  // What members shall dial may be another address than this kubeconfig's.
  const auto published = bootstrap::published_server(admin->api());
  printf("%s\n",
         bootstrap::join_command(published ? *published : admin->server(), token, ca.public_key().pin()).c_str());
  return 0;
}

Result<int> list(const TokenFlags& flags) {
  DURE_TRY(const auto admin, Administrator::open(flags.kubeconfig));
  DURE_TRY(const auto rows, bootstrap::list_tokens(admin->api()));
  printf("%s", bootstrap::token_table(rows, os::make_clock()->wall_now()).c_str());
  return 0;
}

}  // namespace

Door token_door() {
  auto flags = std::make_shared<TokenFlags>();
  const Flag kubeconfig{"--kubeconfig", &flags->kubeconfig,
                        "Kubeconfig of an administrator (default: $KUBECONFIG or admin.conf)"};
  auto names = std::make_shared<std::vector<std::string>>();
  Door create_door{
      .name = "create",
      .summary = "Make a bootstrap token on the server",
      .flags = {kubeconfig,
                {"token", &flags->token, "The token; made up when not given"},
                {"--ttl", &flags->ttl, "How long it is valid; 0: for ever"},
                {"--description", &flags->description, "What it is for"},
                {"--groups", &flags->groups, "Groups of who uses it"},
                {"--usages", &flags->usages, "What it may be used for: signing, authentication"},
                {"--print-join-command", &flags->print_join_command, "Print the whole line for the new machine"},
                {"--wait", &flags->wait, "How long to wait for a server that is just starting"}},
      .run = [flags] { return create(*flags); }};
  Door list_door{.name = "list", .summary = "List bootstrap tokens", .flags = {kubeconfig}, .run = [flags] {
                   return list(*flags);
                 }};
  Door delete_door{.name = "delete",
                   .summary = "Delete bootstrap tokens",
                   .flags = {kubeconfig, {"token", names.get(), "Tokens or their ids", true}},
                   .run = [flags, names]() -> Result<int> {
                     DURE_TRY(const auto admin, Administrator::open(flags->kubeconfig));
                     for (const std::string& name : *names) {
                       DURE_CHECK(bootstrap::delete_token(admin->api(), name));
                       printf("bootstrap token \"%s\" deleted\n", name.substr(0, 6).c_str());
                     }
                     return 0;
                   }};
  return {.name = "token",
          .summary = "Manage the tokens that new machines join with",
          .doors = {create_door, list_door, delete_door}};
}

}  // namespace dure::cmd
