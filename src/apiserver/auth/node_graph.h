// NodeGraph: which node needs which object, because of the pods bound to it. Fed with pods,
// persistent volumes and volume attachments in the order of commits. Thread: any. Cost of a
// question: two hash look-ups; of a change: the references of one pod.
#pragma once

#include <map>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "schema/document.h"

namespace dure::apiserver {

class NodeGraph {
 public:
  void put_pod(const schema::Document& pod);
  void remove_pod(std::string_view namespace_, std::string_view name);
  void put_volume(const schema::Document& volume);
  void remove_volume(std::string_view name);
  void put_attachment(const schema::Document& attachment);
  void remove_attachment(std::string_view name);

  // Does a pod bound to `node` refer to it, directly or through a volume? `what`: a plural of the
  // core group (secrets, configmaps, persistentvolumeclaims, persistentvolumes, serviceaccounts,
  // pods) or volumeattachments.
  bool reaches(std::string_view node, std::string_view what, std::string_view namespace_, std::string_view name) const;

 private:
  struct PodEntry {
    std::string node;
    std::vector<std::string> keys;
  };
  struct VolumeEntry {
    std::string claim;                 // key of the claim, or empty
    std::vector<std::string> secrets;  // keys
  };
  bool needs(std::string_view node, const std::string& key) const;
  void drop_pod(const std::string& key);
  void drop_volume(const std::string& name);

  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, PodEntry> pods_;
  // Object -> node -> how many references.
  std::unordered_map<std::string, std::map<std::string, int, std::less<>>> needed_;
  std::unordered_map<std::string, VolumeEntry> volumes_;
  std::unordered_map<std::string, std::vector<std::string>> volumes_of_secret_;
  std::unordered_map<std::string, std::string> attachments_;  // name -> node
};

}  // namespace dure::apiserver
