#include "cmd/kubeadm_flags.h"

#include "base/log.h"

namespace dure::cmd {
namespace {

enum class Form { text, onoff };

struct Row {
  const char* flag;
  const char* doors;  // which take it: "init join"
  Form form;
  const char* sentence;  // null: taken in silence
  const char* fix;
};

constexpr Row rows[] = {
    {"--config", "init join", Form::text, "dure reads no kubeadm configuration file",
     "give its values as flags (dure init --help); they are kept in /etc/dure/server.conf and agent.conf"},
    {"--upload-certs", "init", Form::onoff, "dure's keys stay on the server and are never uploaded", "leave it away"},
    {"--certificate-key", "init join", Form::text, "dure's keys stay on the server and are never uploaded",
     "leave it away"},
    {"--control-plane", "join", Form::onoff,
     "a second control plane cannot be joined: the server's store is on one machine",
     "join without it as a node, and keep a copy of /etc/kubernetes/pki and /var/lib/dure/store of the server"},
    {"--discovery-file", "join", Form::text, "dure discovers its server by token and pinned CA only",
     "on the server: dure token create --print-join-command"},
    {"--tls-bootstrap-token", "join", Form::text, "dure uses one token for discovery and for the certificate",
     "--token, as dure token create --print-join-command prints it"},
    {"--discovery-token", "join", Form::text, "dure uses one token for discovery and for the certificate",
     "--token, as dure token create --print-join-command prints it"},
    {"--cert-dir", "init", Form::text, "certificates are always in /etc/kubernetes/pki",
     "put your own CA there before dure init; it is kept"},
    {"--image-repository", "init", Form::text, "dure pulls no images for itself: everything is in the binary",
     "leave it away"},
    {"--kubernetes-version", "init", Form::text, "the version of the API is that of this binary: dure version",
     "leave it away, or install another dure"},
    {"--feature-gates", "init", Form::text, "dure has no feature gates", "leave it away"},
    {"--patches", "init join", Form::text, "dure has no static pods of its own to patch", "leave it away"},
    {"--skip-phases", "init join", Form::text, "dure has no phases to skip; it installs neither kube-proxy nor CoreDNS",
     "leave it away; --network none leaves the pod network to others"},
    {"--dry-run", "init join", Form::onoff, "there is no dry run", "dure check says what init and join would mind"},
    {"--token", "init", Form::text, "init makes no token", "dure token create TOKEN, once the server runs"},
    {"--token-ttl", "init", Form::text, "init makes no token", "dure token create --ttl, once the server runs"},
    {"--skip-token-print", "init", Form::onoff, nullptr, nullptr},
    {"--skip-certificate-key-print", "init", Form::onoff, nullptr, nullptr},
};

bool takes(const Row& row, std::string_view door) { return std::string_view(row.doors).contains(door); }

}  // namespace

std::vector<Flag> kubeadm_flags(std::string_view door, KubeadmFlags& flags) {
  std::vector<Flag> out;
  for (const Row& row : rows) {
    if (!takes(row, door)) continue;
    const std::string help = row.sentence ? std::string("kubeadm's; refused: ") + row.sentence : "kubeadm's; no effect";
    if (row.form == Form::text)
      out.push_back({row.flag, &flags.texts[row.flag], help});
    else
      out.push_back({row.flag, &flags.switches[row.flag], help});
  }
  out.push_back({"-v,--v", &flags.verbosity, "kubeadm's log level; 4 and more: log everything"});
  return out;
}

Status judge_kubeadm_flags(std::string_view door, const KubeadmFlags& flags) {
  if (flags.verbosity >= 4) set_log_level(LogLevel::debug);
  for (const Row& row : rows) {
    if (!takes(row, door) || !row.sentence) continue;
    const bool given = row.form == Form::text ? !flags.texts.at(row.flag).empty() : flags.switches.at(row.flag);
    if (given) return fail(Error{400, "NotDuresWay", std::string(row.flag) + ": " + row.sentence, row.fix});
  }
  return {};
}

}  // namespace dure::cmd
