// Third-party networks against the cluster's ranges: what a manifest (calico.yaml, custom-resources.yaml,
// kube-flannel.yml) is going to do, before it is applied. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "bootstrap/checks/checks.h"

namespace dure::bootstrap {

// One finding per place that does not fit; nothing for what is no network. Codes:
//   CalicoPoolOutside     a pool of Calico's lies outside the pods' range: its nodes never become Ready
//   CalicoPoolUnset       note: Calico takes the range from kubeadm-config
//   FlannelNetworkDiffers Flannel's Network is not the pods' range
//   ManifestUnreadable    not YAML
std::vector<Finding> check_manifest(std::string_view yaml, const CheckOptions& options);

}  // namespace dure::bootstrap
