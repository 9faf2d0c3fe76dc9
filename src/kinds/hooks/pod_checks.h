// Validation of pods and their parts that looks at more than one row. Each has the shape of
// schema::Hooks::validate.
#pragma once

#include "kinds/hooks/rules.h"

namespace dure::kinds::pods {

using rules::Causes;
using rules::Node;
using rules::Path;

void validate_pod(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_pod_spec(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_container(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_volume(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_env_var(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_probe(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_port_of_action(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_resources(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_toleration(const Node* object, const Node* old, const Path& path, Causes& causes);
void validate_node_selector_requirement(const Node* object, const Node* old, const Path& path, Causes& causes);

}  // namespace dure::kinds::pods
