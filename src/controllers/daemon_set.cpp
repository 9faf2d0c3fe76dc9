#include "controllers/daemon_set.h"

#include <algorithm>
#include <memory>
#include <set>

#include "controllers/claims.h"
#include "controllers/daemon_plan.h"
#include "controllers/pod_control.h"
#include "controllers/pod_facts.h"
#include "controllers/pod_template.h"
#include "controllers/revisions.h"

namespace dure::controllers {
namespace {

constexpr size_t burst_max = 250;

class DaemonSets {
 public:
  DaemonSets(Client& client, Caches& caches)
      : client_(client),
        executor_(caches.executor()),
        sets_(caches.of(apps::daemonsets)),
        revisions_(caches.of(apps::controllerrevisions)),
        pods_(caches.of(core::pods)),
        nodes_(caches.of(core::nodes)),
        events_(EventRecorder::create(client, executor_, "daemonset-controller")) {
    pods_.add_index("controller", controller_index);
    revisions_.add_index("controller", controller_index);
  }

  void keys_of_child(const Object& child, const Enqueue& enqueue) const {
    enqueue_owners(child, "DaemonSet", sets_, selector_of, enqueue);
  }

  void keys_of_node(const Enqueue& enqueue) const {
    for (const Object& set : sets_.list()) enqueue(client::key_of(set));
  }

  Outcome reconcile(const Key& key) {
    const Object set = sets_.get(key);
    if (!set) return Outcome::done();
    const Selector selector = selector_of(set);
    if (selector.is_everything()) {
      events_->warning(EventAbout::object(set), "SelectingAll",
                       "This daemon set is selecting all pods. A non-empty selector is required.");
      return Outcome::done();
    }
    if (client::is_terminating(set)) return Outcome::done();
    auto done = sync(set, selector);
    return done ? *done : Outcome::failed(std::move(done).error());
  }

 private:
  static Selector selector_of(const Object& set) { return Selector::from(apps::DaemonSet(set).spec().selector()); }

  Result<Outcome> sync(const Object& set, const Selector& selector) {
    const Claimer of_revisions{client_, apps::daemonsets, set, apps::controllerrevisions, selector};
    DURE_TRY(auto known, claim(of_revisions, candidates_of(revisions_, set)));
    int64_t collisions = apps::DaemonSet(set).status().collisionCount();
    auto revisions = sync_revisions(client_, apps::daemonsets, set, known, collisions);
    if (!revisions) {
      if (collisions != apps::DaemonSet(set).status().collisionCount()) DURE_CHECK(note_collision(set, collisions));
      return fail(std::move(revisions).error());
    }
    const Claimer of_pods{client_, apps::daemonsets, set, core::pods, selector};
    DURE_TRY(auto pods, claim(of_pods, candidates_of(pods_, set)));

    DaemonView view = view_of(set, pods, *revisions);
    const DaemonPlan presence = plan_presence(view);
    Status acted = apply(view, presence);
    view = view_of(set, mine(set, selector), *revisions);
    if (acted && presence.create_on.empty() && presence.remove.empty()) {
      acted = apply(view, plan_update(view));
      view = view_of(set, mine(set, selector), *revisions);
    }
    DURE_CHECK(clean_up(*revisions, view, set));
    DURE_CHECK(update_status(view));
    if (!acted) return fail(std::move(acted).error());
    if (presence.look_again) return Outcome::after(*presence.look_again);
    const auto next =
        until_next_available(mine(set, selector), apps::DaemonSet(set).spec().minReadySeconds(), view.now);
    return next ? Outcome::after(*next) : Outcome::done();
  }

  std::vector<Object> mine(const Object& set, const Selector& selector) const {
    std::vector<Object> pods = pods_.by_index("controller", client::uid_of(set));
    std::erase_if(pods, [&](const Object& pod) { return !selector.matches(pod); });
    return pods;
  }

  DaemonView view_of(const Object& set, const std::vector<Object>& pods, const Revisions& revisions) const {
    DaemonView view{set,
                    nodes_.list(),
                    {},
                    std::string(client::label(revisions.current, revision_hash_label)),
                    executor_.wall_now()};
    for (const Object& pod : pods) view.pods[node_of(pod)].push_back(pod);
    return view;
  }

  Status apply(const DaemonView& view, const DaemonPlan& plan) {
    const EventAbout about = EventAbout::object(view.daemon_set);
    for (const Object& pod : plan.failed)
      events_->warning(about, "FailedDaemonPod",
                       "Found failed daemon pod " + client::key_of(pod).text() + " on node " + node_of(pod) +
                           ", will try to kill it");
    Status made = slow_start(std::min(plan.create_on.size(), burst_max), [&](size_t i) {
      const Document pod = daemon_pod(view.daemon_set, plan.create_on[i], view.hash);
      return make_pod(client_, *events_, about, pod, client::namespace_of(view.daemon_set));
    });
    Status removed = remove_pods(client_, *events_, about, plan.remove);
    return made ? removed : made;
  }

  // Keeps the revisions that pods run and the newest `revisionHistoryLimit` others.
  Status clean_up(const Revisions& revisions, const DaemonView& view, const Object& set) {
    std::set<std::string_view> live;
    for (const auto& [node, pods] : view.pods)
      for (const Object& pod : pods) live.insert(client::label(pod, revision_hash_label));
    std::vector<Object> unused;
    for (const Object& revision : revisions.old)
      if (!live.contains(client::label(revision, revision_hash_label))) unused.push_back(revision);
    const int64_t surplus = static_cast<int64_t>(unused.size()) - apps::DaemonSet(set).spec().revisionHistoryLimit();
    for (int64_t i = 0; i < surplus; ++i) {
      Status removed = client_.remove(apps::controllerrevisions, client::key_of(unused[static_cast<size_t>(i)]));
      if (!removed && removed.error().code != 404) return removed;
    }
    return {};
  }

  Status update_status(const DaemonView& view) {
    const DaemonCounts counts = count(view);
    Document next = view.daemon_set->clone();
    apps::DaemonSetStatus status = apps::DaemonSet(next).mutable_status();
    status.set_observedGeneration(client::generation_of(view.daemon_set));
    status.set_desiredNumberScheduled(counts.desired);
    status.set_currentNumberScheduled(counts.current);
    status.set_numberMisscheduled(counts.misscheduled);
    status.set_numberReady(counts.ready);
    status.set_updatedNumberScheduled(counts.updated);
    status.set_numberAvailable(counts.available);
    status.set_numberUnavailable(counts.desired - counts.available);
    if (schema::equal(view.daemon_set->root()->find("status"), next.root()->find("status"))) return {};
    auto written = client_.update(apps::daemonsets, next, "status");
    if (!written && written.error().code != 404) return fail(std::move(written).error());
    return {};
  }

  Status note_collision(const Object& set, int64_t collisions) {
    Document next = set->clone();
    apps::DaemonSet(next).mutable_status().set_collisionCount(collisions);
    auto written = client_.update(apps::daemonsets, next, "status");
    if (!written) return fail(std::move(written).error());
    return {};
  }

  Client& client_;
  run::Executor& executor_;
  Cache& sets_;
  Cache& revisions_;
  Cache& pods_;
  Cache& nodes_;
  std::unique_ptr<EventRecorder> events_;
};

}  // namespace

LoopSpec daemon_set(Client& client, Caches& caches) {
  auto sets = std::make_shared<DaemonSets>(client, caches);
  LoopSpec spec;
  spec.name = "daemonset";
  const auto of_child = [sets](const Object& child, const Enqueue& enqueue) { sets->keys_of_child(child, enqueue); };
  spec.watches = {{&apps::daemonsets, client::own_key(), {}},
                  {&apps::controllerrevisions, of_child, {}},
                  {&core::pods, of_child, {}},
                  {&core::nodes, [sets](const Object&, const Enqueue& enqueue) { sets->keys_of_node(enqueue); }, {}}};
  spec.owns = {"status of apps/v1 DaemonSet", "apps/v1 ControllerRevision of DaemonSet", "v1 Pod of DaemonSet"};
  spec.reconcile = [sets](const Key& key) { return sets->reconcile(key); };
  spec.workers = 2;
  return spec;
}

}  // namespace dure::controllers
