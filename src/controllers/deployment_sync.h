// DeploymentSync: one reconcile of one Deployment. Internal to deployment*.cpp.
#pragma once

#include <optional>

#include "controllers/api.h"
#include "controllers/conditions.h"
#include "controllers/deployment_plan.h"

namespace dure::controllers {

inline constexpr std::string_view pod_template_hash = "pod-template-hash";
inline constexpr std::string_view revision_annotation = "deployment.kubernetes.io/revision";
inline constexpr std::string_view history_annotation = "deployment.kubernetes.io/revision-history";
inline constexpr std::string_view desired_annotation = "deployment.kubernetes.io/desired-replicas";
inline constexpr std::string_view max_annotation = "deployment.kubernetes.io/max-replicas";

class DeploymentSync {
 public:
  struct Tools {
    Client& client;
    run::Executor& executor;
    Cache& sets;
    Cache& pods;
    EventRecorder& events;
  };
  // `sets`: the ReplicaSets that belong to it.
  DeploymentSync(const Tools& tools, Object deployment, std::vector<Object> sets);
  Result<Outcome> run();

 private:
  // deployment_sync.cpp: what to do
  Status note_pause();
  bool is_scaling() const;
  Status scale_only();
  Status scale();
  Status roll();
  Status recreate();
  bool old_pods_run() const;
  Status clean_up();
  // deployment_revision.cpp: which ReplicaSet is the new one
  void split();
  Status find_or_make_new(bool make);
  Status adopt_revision();
  Status make_new();
  Document new_set_document(const std::string& hash, int64_t revision) const;
  Status creation_failed(const Error& error, const std::string& hash, const std::string& name);
  Status publish_revision(int64_t revision, std::optional<Condition> progress);
  bool annotate(Document& set, int64_t revision, bool exists) const;
  int64_t newest_old_revision() const;
  // deployment_status.cpp: what to tell
  Status write_status();
  void fill_status(Document& next) const;
  void fill_progress(Document& next) const;
  void fill_failures(Document& next) const;
  bool is_complete(const Node* status) const;
  bool is_moving(const Node* status) const;
  bool is_timed_out(const Node* status) const;
  Status update_status(Document next);
  Outcome until_deadline() const;

  Status resize(Object& set, int64_t size);
  apps::Deployment view() const { return apps::Deployment(deployment_); }
  bool has_deadline() const;
  std::vector<SetSize> sizes(const std::vector<Object>& sets) const;
  std::vector<Object> all() const;  // old ones, then the new one

  Tools tools_;
  Object deployment_;
  std::vector<Object> sets_;
  Object new_set_;           // null: none yet
  std::vector<Object> old_;  // oldest first
  const Rollout rollout_;
  const WallTime now_;
};

int64_t revision_number(const Object& object);

}  // namespace dure::controllers
