// Selector: a metav1.LabelSelector as a question. Nothing selects nothing, an empty selector selects everything
// (upstream's rule).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controllers/api.h"

namespace dure::controllers {

class Selector {
 public:
  Selector() = default;  // selects nothing
  static Selector from(const meta::LabelSelector& selector);
  // A plain map, as Services have it; empty selects nothing.
  static Selector from_map(const schema::Map<std::string_view>& labels);

  bool matches(const schema::Map<std::string_view>& labels) const;
  bool matches(const Object& object) const;
  bool is_everything() const { return !nothing_ && requirements_.empty(); }

 private:
  enum class Operator { in, not_in, exists, not_exists };
  struct Requirement {
    std::string key;
    Operator op = Operator::in;
    std::vector<std::string> values;
  };
  bool nothing_ = true;
  std::vector<Requirement> requirements_;
};

}  // namespace dure::controllers
