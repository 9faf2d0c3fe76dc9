#include "controllers/deployment.h"

#include <memory>

#include "controllers/claims.h"
#include "controllers/deployment_sync.h"
#include "controllers/pod_facts.h"

namespace dure::controllers {
namespace {

class Deployments {
 public:
  Deployments(Client& client, Caches& caches)
      : client_(client),
        executor_(caches.executor()),
        deployments_(caches.of(apps::deployments)),
        sets_(caches.of(apps::replicasets)),
        pods_(caches.of(core::pods)),
        events_(EventRecorder::create(client, executor_, "deployment-controller")) {
    sets_.add_index("controller", controller_index);
    pods_.add_index("controller", controller_index);
  }

  void keys_of_set(const Object& set, const Enqueue& enqueue) const {
    enqueue_owners(set, "Deployment", deployments_, selector_of, enqueue);
  }

  // Recreate waits for the last old pod to be gone.
  void keys_of_pod(const Object& pod, const Enqueue& enqueue) const {
    const client::OwnerReference owner = client::controller_of(pod);
    if (owner.kind != "ReplicaSet") return;
    const Object set = sets_.get({std::string(client::namespace_of(pod)), std::string(owner.name)});
    if (!set) return;
    const client::OwnerReference upper = client::controller_of(set);
    const Key key{std::string(client::namespace_of(set)), std::string(upper.name)};
    const Object deployment = upper.kind == "Deployment" ? deployments_.get(key) : nullptr;
    if (deployment && apps::Deployment(deployment).spec().strategy().type() == "Recreate") enqueue(key);
  }

  Outcome reconcile(const Key& key) {
    const Object deployment = deployments_.get(key);
    if (!deployment) return Outcome::done();
    const Selector selector = selector_of(deployment);
    if (selector.is_everything()) return refuse_everything(deployment);
    const Claimer claimer{client_, apps::deployments, deployment, apps::replicasets, selector};
    auto sets = claim(claimer, candidates_of(sets_, deployment));
    if (!sets) return Outcome::failed(std::move(sets).error());
    DeploymentSync sync({client_, executor_, sets_, pods_, *events_}, deployment, std::move(*sets));
    auto outcome = sync.run();
    return outcome ? *outcome : Outcome::failed(std::move(outcome).error());
  }

 private:
  static Selector selector_of(const Object& deployment) {
    return Selector::from(apps::Deployment(deployment).spec().selector());
  }

  Outcome refuse_everything(const Object& deployment) {
    events_->warning(EventAbout::object(deployment), "SelectingAll",
                     "This deployment is selecting all pods. A non-empty selector is required.");
    Document next = deployment->clone();
    apps::Deployment view(next);
    if (view.status().observedGeneration() >= view.metadata().generation()) return Outcome::done();
    view.mutable_status().set_observedGeneration(view.metadata().generation());
    auto written = client_.update(apps::deployments, next, "status");
    return written ? Outcome::done() : Outcome::failed(std::move(written).error());
  }

  Client& client_;
  run::Executor& executor_;
  Cache& deployments_;
  Cache& sets_;
  Cache& pods_;
  std::unique_ptr<EventRecorder> events_;
};

}  // namespace

LoopSpec deployment(Client& client, Caches& caches) {
  auto deployments = std::make_shared<Deployments>(client, caches);
  LoopSpec spec;
  spec.name = "deployment";
  spec.watches = {{&apps::deployments, client::own_key(), {}},
                  {&apps::replicasets,
                   [deployments](const Object& set, const Enqueue& enqueue) { deployments->keys_of_set(set, enqueue); },
                   {}},
                  {&core::pods,
                   [deployments](const Object& pod, const Enqueue& enqueue) { deployments->keys_of_pod(pod, enqueue); },
                   {}}};
  spec.owns = {"status of apps/v1 Deployment", "apps/v1 ReplicaSet of Deployment"};
  spec.reconcile = [deployments](const Key& key) { return deployments->reconcile(key); };
  spec.workers = 5;
  return spec;
}

}  // namespace dure::controllers
