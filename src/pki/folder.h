// Folder: a cluster's keys and certificates on disk, laid out and named as kubeadm does, so that
// people and tools find them where they expect them.
//
//   <root>/pki/ca.{crt,key}  front-proxy-ca.{crt,key}  sa.{key,pub}  apiserver.{crt,key}
//             apiserver-kubelet-client.{crt,key}  front-proxy-client.{crt,key}
//   <root>/admin.conf  super-admin.conf  controller-manager.conf  scheduler.conf
//
// `ensure` makes what is missing, renews what ends within `renew_before` or no longer fits (other
// names, another CA), and leaves everything else untouched. A CA without its key is taken as
// managed elsewhere: leaves that are missing are then an error. Private keys and kubeconfigs are
// 0600. Not safe against a second process on the same folder. Thread: one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "pki/certificate.h"

namespace dure::os {
class Disk;
class Random;
}  // namespace dure::os

namespace dure::pki {

struct FolderOptions {
  std::string node_name;                 // goes into the API server's names
  std::string server_url;                // of the kubeconfigs: "https://10.0.0.1:6443"
  std::string service_ip = "10.96.0.1";  // of the Service "kubernetes"
  std::string cluster_domain = "cluster.local";
  std::string cluster_name = "kubernetes";
  std::vector<std::string> extra_names = {};  // further DNS names and addresses of the API server
  // Where the control plane's own kubeconfigs go; empty: server_url.
  std::string local_server_url = {};
  Duration authority_lifetime = 10 * 365 * 24h, leaf_lifetime = 365 * 24h, renew_before = 30 * 24h;
};

struct ExpirationRow {
  std::string name;  // "admin.conf", "apiserver", ...
  WallTime expires;
  std::string authority;  // "ca", "front-proxy-ca"; empty for an authority itself
  bool managed_elsewhere = false;
  bool missing = false;
};

class Folder {
 public:
  Folder(os::Disk& disk, os::Random& random, std::string root) : disk_(disk), random_(random), root_(std::move(root)) {}

  // Answers the files made or renewed, relative to the root.
  Result<std::vector<std::string>> ensure(const FolderOptions& options, WallTime now);
  // The same, whatever the remaining time; `name` empty: all, else one row of check_expiration
  // ("apiserver", "admin.conf").
  Result<std::vector<std::string>> renew(const FolderOptions& options, std::string_view name, WallTime now);
  // Leaves first, then authorities, each in kubeadm's order.
  Result<std::vector<ExpirationRow>> check_expiration() const;

  Result<Authority> authority() const;  // ca
  Result<PrivateKey> service_account_key() const;
  Result<std::string> read(std::string_view relative_path) const;  // "pki/ca.crt"
  std::string path(std::string_view relative_path) const;

 private:
  struct Run;  // one ensure or renew
  os::Disk& disk_;
  os::Random& random_;
  std::string root_;
};

// The table as `kubeadm certs check-expiration` prints it.
std::string expiration_table(const std::vector<ExpirationRow>& rows, WallTime now);

}  // namespace dure::pki
