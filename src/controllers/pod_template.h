// Pods from templates, and the stable hash that names a template.
#pragma once

#include <optional>
#include <string>

#include "controllers/api.h"

namespace dure::controllers {

// A pod of `owner` from its template: labels, annotations, finalizers and spec copied, generateName "<owner>-",
// controller reference set.
Document pod_from_template(const core::PodTemplateSpec& pod_template, const Resource& owner_resource,
                           const Object& owner);

// Depends only on the template's values and `collision_count`, not on their order or encoding; 8 to 10 characters
// without vowels and look-alikes, so that it is safe in names.
std::string template_hash(const Node* pod_template, std::optional<int64_t> collision_count);

// Two pod templates are equal but for the label `hash_label`, which the owner adds.
bool equal_templates(const Node* a, const Node* b, std::string_view hash_label);

}  // namespace dure::controllers
