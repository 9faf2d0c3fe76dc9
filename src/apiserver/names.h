// The spelling rules for names, labels and annotations, and the sentences that say what is wrong. Empty: nothing is.
#pragma once

#include <string>
#include <string_view>

#include "kinds/hooks/write.h"

namespace dure::apiserver {

std::string name_problem(std::string_view name, kinds::NameRule rule);
std::string label_key_problem(std::string_view key);  // [prefix/]name; also annotations and finalizers
std::string label_value_problem(std::string_view value);
bool is_dns_subdomain(std::string_view text);
bool is_dns_label(std::string_view text);

}  // namespace dure::apiserver
