#include "plane/components.h"

#include <utility>

#include "kinds/views/core_v1.h"

namespace dure::plane {

std::vector<schema::Document> component_states(const Status& loops, const Status& store) {
  std::vector<schema::Document> out;
  for (const auto& [name, health] : {std::pair<std::string_view, const Status&>{"scheduler", loops},
                                     {"controller-manager", loops},
                                     {"etcd-0", store}}) {
    const kinds::core_v1::ComponentStatus one(out.emplace_back(kinds::core_v1::ComponentStatus::schema_type()));
    one.set_kind("ComponentStatus");
    one.set_apiVersion("v1");
    one.mutable_metadata().set_name(name);
    const auto condition = one.add_conditions();
    condition.set_type("Healthy");
    condition.set_status(health ? "True" : "False");
    if (health)
      condition.set_message("ok");
    else
      condition.set_error(health.error().message);
  }
  return out;
}

}  // namespace dure::plane
