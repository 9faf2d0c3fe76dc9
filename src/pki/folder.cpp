#include "pki/folder.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "os/clock.h"
#include "os/disk.h"
#include "pki/kubeconfig.h"

namespace dure::pki {
namespace {

constexpr int public_mode = 0644, private_mode = 0600;
// A newcomer's clock may be a little behind.
constexpr Duration backdate = 5min;

struct LeafRow {
  std::string_view name, authority, common_name, organization;
  bool server = false;      // else client
  bool kubeconfig = false;  // lives in <root>/<name>, else in <root>/pki/<name>.{crt,key}
  bool local = false;       // a kubeconfig of the control plane itself
};

constexpr LeafRow leaf_rows[] = {
    {"admin.conf", "ca", "kubernetes-admin", "kubeadm:cluster-admins", false, true},
    {"apiserver", "ca", "kube-apiserver", "", true},
    {"apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client", "kubeadm:cluster-admins"},
    {"controller-manager.conf", "ca", "system:kube-controller-manager", "", false, true, true},
    {"front-proxy-client", "front-proxy-ca", "front-proxy-client", ""},
    {"scheduler.conf", "ca", "system:kube-scheduler", "", false, true, true},
    {"super-admin.conf", "ca", "kubernetes-super-admin", "system:masters", false, true},
};

struct AuthorityRow {
  std::string_view name, common_name;
};
constexpr AuthorityRow authority_rows[] = {{"ca", "kubernetes"}, {"front-proxy-ca", "front-proxy-ca"}};

std::string certificate_file(std::string_view name) { return "pki/" + std::string(name) + ".crt"; }
std::string key_file(std::string_view name) { return "pki/" + std::string(name) + ".key"; }

AlternativeNames server_names(const FolderOptions& options) {
  AlternativeNames names;
  const std::string service = "kubernetes.default.svc";
  for (std::string_view name :
       {std::string_view("kubernetes"), std::string_view("kubernetes.default"), std::string_view(service)})
    names.add(name);
  names.add(service + "." + options.cluster_domain);
  if (!options.node_name.empty()) names.add(options.node_name);
  names.add("localhost");
  if (!options.service_ip.empty()) names.add(options.service_ip);
  names.add("127.0.0.1");
  names.add("::1");
  for (const std::string& name : options.extra_names) names.add(name);
  return names;
}

bool covers(const AlternativeNames& have, const AlternativeNames& want) {
  const auto within = [](const std::vector<std::string>& all, const std::vector<std::string>& some) {
    return std::all_of(some.begin(), some.end(),
                       [&](const std::string& name) { return std::find(all.begin(), all.end(), name) != all.end(); });
  };
  return within(have.dns_names, want.dns_names) && within(have.ips, want.ips);
}

CertificateSpec leaf_spec(const LeafRow& row, const FolderOptions& options, WallTime now) {
  CertificateSpec spec{.subject = {.common_name = std::string(row.common_name)},
                       .not_before = now - backdate,
                       .not_after = now + options.leaf_lifetime};
  if (!row.organization.empty()) spec.subject.organizations.emplace_back(row.organization);
  spec.usages.server_auth = row.server;
  spec.usages.client_auth = !row.server;
  if (row.server) spec.names = server_names(options);
  return spec;
}

std::string pad(std::string text, size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

// "Jan 02, 2026 15:04 UTC"
std::string table_time(WallTime time) {
  constexpr std::string_view months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::string iso = format_time(time);  // 2026-01-02T15:04:05Z
  const int64_t month = parse_int(std::string_view(iso).substr(5, 2)).value_or(1);
  return std::string(months[static_cast<size_t>(month - 1) % 12]) + " " + iso.substr(8, 2) + ", " + iso.substr(0, 4) +
         " " + iso.substr(11, 5) + " UTC";
}

std::string residual(WallTime expires, WallTime now) {
  if (expires <= now) return "<invalid>";
  const int64_t hours = (expires.seconds() - now.seconds()) / 3600;
  const int64_t days = hours / 24;
  if (hours < 48) return human_duration(expires - now);
  if (days < 365 * 2) return std::to_string(days) + "d";
  return std::to_string(days / 365) + "y";
}

}  // namespace

struct Folder::Run {
  Folder& folder;
  const FolderOptions& options;
  WallTime now;
  bool forced = false;
  std::string_view only = {};
  std::vector<std::string> changed = {};

  std::optional<std::string> present(const std::string& file) {
    auto text = folder.read(file);
    return text ? std::optional<std::string>(std::move(*text)) : std::nullopt;
  }

  Status write(const std::string& file, std::string_view text, int mode) {
    DURE_CHECK(os::write_file_atomic(folder.disk_, folder.path(file), text, mode));
    changed.push_back(file);
    return {};
  }

  Status ensure_authority(const AuthorityRow& row) {
    if (folder.disk_.exists(folder.path(certificate_file(row.name)))) return {};
    // A key alone is what a crash between the two writes leaves: it is taken over.
    std::optional<PrivateKey> key;
    if (const auto text = present(key_file(row.name))) {
      DURE_TRY(key, PrivateKey::from_pem(*text));
    }
    DURE_TRY(const Authority made,
             Authority::create(row.common_name, now - backdate, now + options.authority_lifetime, folder.random_, key));
    DURE_CHECK(write(key_file(row.name), made.key().pem(), private_mode));
    return write(certificate_file(row.name), made.certificate().pem(), public_mode);
  }

  Status ensure_service_account_key() {
    std::string key_pem;
    if (const auto text = present("pki/sa.key")) {
      key_pem = *text;
    } else {
      DURE_TRY(const PrivateKey key, PrivateKey::generate());
      key_pem = key.pem();
      DURE_CHECK(write("pki/sa.key", key_pem, private_mode));
    }
    if (folder.disk_.exists(folder.path("pki/sa.pub"))) return {};
    DURE_TRY(const PrivateKey key, PrivateKey::from_pem(key_pem));
    return write("pki/sa.pub", key.public_key().pem(), public_mode);
  }

  std::optional<Certificate> current(const LeafRow& row) {
    const auto text = present(row.kubeconfig ? std::string(row.name) : certificate_file(row.name));
    if (!text) return std::nullopt;
    if (row.kubeconfig && server_of(*text) != wanted_server(row)) return std::nullopt;
    auto certificate = row.kubeconfig ? embedded_certificate(*text) : Certificate::from_pem(*text);
    if (!certificate || (!row.kubeconfig && !has_its_key(row, *certificate))) return std::nullopt;
    return *certificate;
  }

  bool has_its_key(const LeafRow& row, const Certificate& certificate) {
    const auto text = present(key_file(row.name));
    const auto key = text ? PrivateKey::from_pem(*text) : fail(not_found("key", row.name));
    return key && key->public_key() == certificate.public_key();
  }

  std::string wanted_server(const LeafRow& row) {
    return row.local && !options.local_server_url.empty() ? options.local_server_url : options.server_url;
  }

  // An authority's certificate alone can tell whether a leaf is good; only making one needs the
  // key.
  bool is_good(const LeafRow& row, const Certificate& root) {
    if (forced && (only.empty() || only == row.name)) return false;
    const std::optional<Certificate> leaf = current(row);
    return leaf && leaf->not_after() - now > options.renew_before && leaf->verify({root}, now) &&
           (!row.server || covers(leaf->names(), server_names(options)));
  }

  Status ensure_leaf(const LeafRow& row) {
    DURE_TRY(const std::string root_pem, folder.read(certificate_file(row.authority)));
    DURE_TRY(const Certificate root, Certificate::from_pem(root_pem));
    if (is_good(row, root)) return {};
    auto key_pem = folder.read(key_file(row.authority));
    if (!key_pem)
      return fail(Error{.code = 409,
                        .reason = "PkiIncomplete",
                        .message = std::string(row.name) + " is missing or ends soon, and the key of \"" +
                                   std::string(row.authority) + "\" is not here to sign a new one"});
    DURE_TRY(const Authority authority, Authority::from_pem(root_pem, *key_pem));
    DURE_TRY(const KeyPair pair, issue_pair(authority, leaf_spec(row, options, now), folder.random_));
    return write_leaf(row, pair, root_pem);
  }

  Status write_leaf(const LeafRow& row, const KeyPair& pair, const std::string& root_pem) {
    if (!row.kubeconfig) {
      DURE_CHECK(write(key_file(row.name), pair.key.pem(), private_mode));
      return write(certificate_file(row.name), pair.certificate.pem(), public_mode);
    }
    const std::string text = kubeconfig_text({.cluster_name = options.cluster_name,
                                              .server = wanted_server(row),
                                              .ca_pem = root_pem,
                                              .user_name = std::string(row.common_name),
                                              .certificate_pem = pair.certificate.pem(),
                                              .key_pem = pair.key.pem()});
    return write(std::string(row.name), text, private_mode);
  }

  Result<std::vector<std::string>> all() {
    DURE_CHECK(folder.disk_.make_directories(folder.path("pki")));
    for (const AuthorityRow& row : authority_rows) DURE_CHECK(ensure_authority(row));
    DURE_CHECK(ensure_service_account_key());
    for (const LeafRow& row : leaf_rows) DURE_CHECK(ensure_leaf(row));
    return std::move(changed);
  }
};

std::string Folder::path(std::string_view relative_path) const { return root_ + "/" + std::string(relative_path); }

Result<std::string> Folder::read(std::string_view relative_path) const {
  return os::read_file(disk_, path(relative_path), 1 << 20);
}

Result<std::vector<std::string>> Folder::ensure(const FolderOptions& options, WallTime now) {
  return Run{*this, options, now}.all();
}

Result<std::vector<std::string>> Folder::renew(const FolderOptions& options, std::string_view name, WallTime now) {
  const bool known = name.empty() || std::any_of(std::begin(leaf_rows), std::end(leaf_rows),
                                                 [&](const LeafRow& row) { return row.name == name; });
  if (!known) return fail(not_found("certificates", name));
  return Run{*this, options, now, true, name}.all();
}

Result<std::vector<ExpirationRow>> Folder::check_expiration() const {
  std::vector<ExpirationRow> rows;
  for (const LeafRow& leaf : leaf_rows) {
    ExpirationRow& row = rows.emplace_back();
    row.name = leaf.name;
    row.authority = leaf.authority;
    row.managed_elsewhere = !disk_.exists(path(key_file(leaf.authority)));
    const auto text = read(leaf.kubeconfig ? std::string(leaf.name) : certificate_file(leaf.name));
    row.missing = !text;
    if (!text) continue;
    DURE_TRY(const Certificate certificate,
             leaf.kubeconfig ? embedded_certificate(*text) : Certificate::from_pem(*text));
    row.expires = certificate.not_after();
  }
  for (const AuthorityRow& authority : authority_rows) {
    ExpirationRow& row = rows.emplace_back();
    row.name = authority.name;
    row.managed_elsewhere = !disk_.exists(path(key_file(authority.name)));
    const auto text = read(certificate_file(authority.name));
    row.missing = !text;
    if (!text) continue;
    DURE_TRY(const Certificate certificate, Certificate::from_pem(*text));
    row.expires = certificate.not_after();
  }
  return rows;
}

Result<Authority> Folder::authority() const {
  DURE_TRY(const std::string certificate, read("pki/ca.crt"));
  DURE_TRY(const std::string key, read("pki/ca.key"));
  return Authority::from_pem(certificate, key);
}

Result<PrivateKey> Folder::service_account_key() const {
  DURE_TRY(const std::string key, read("pki/sa.key"));
  return PrivateKey::from_pem(key);
}

std::string expiration_table(const std::vector<ExpirationRow>& rows, WallTime now) {
  std::string leaves, authorities;
  for (const ExpirationRow& row : rows) {
    const std::string elsewhere = row.managed_elsewhere ? "yes" : "no";
    const std::string expires = row.missing ? "!MISSING!" : table_time(row.expires);
    const std::string left = row.missing ? "" : residual(row.expires, now);
    if (row.authority.empty()) {
      authorities += pad(row.name, 24) + pad(expires, 25) + pad(left, 18) + elsewhere + "\n";
    } else {
      leaves += pad(row.name, 27) + pad(expires, 25) + pad(left, 18) + pad(row.authority, 24) + elsewhere + "\n";
    }
  }
  return "CERTIFICATE                EXPIRES                  RESIDUAL TIME     "
         "CERTIFICATE AUTHORITY   EXTERNALLY MANAGED\n" +
         leaves +
         "\nCERTIFICATE AUTHORITY   EXPIRES                  RESIDUAL TIME     EXTERNALLY "
         "MANAGED\n" +
         authorities;
}

}  // namespace dure::pki
