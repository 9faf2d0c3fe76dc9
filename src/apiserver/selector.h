// Label and field selectors: their grammar, and matching against stored JSON without decoding it.
//
// Immutable after parsing; thread: any. Grammar:
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dure::apiserver {

using LabelList = std::vector<std::pair<std::string, std::string>>;

class LabelSelector {
 public:
  enum class Operator { in, not_in, exists, not_exists, greater, less };
  struct Requirement {
    std::string key;
    Operator op = Operator::in;
    std::vector<std::string> values;  // sorted
  };

  static Result<LabelSelector> parse(std::string_view text);
  bool empty() const { return requirements_.empty(); }
  bool matches(const LabelList& labels) const;

 private:
  std::vector<Requirement> requirements_;
};

class FieldSelector {
 public:
  struct Term {
    std::string field, value;
    bool equal = true;
  };

  // Fields other than metadata.name, metadata.namespace and `known` are refused (400).
  static Result<FieldSelector> parse(std::string_view text, std::span<const std::string_view> known, bool namespaced);
  bool empty() const { return terms_.empty(); }
  const std::vector<Term>& terms() const { return terms_; }
  // The value that `field` must equal, or empty: for narrowing a list to one name.
  std::string_view required(std::string_view field) const;
  bool matches(std::string_view stored_json) const;

 private:
  std::vector<Term> terms_;
};

// metadata.labels of a stored object.
LabelList labels_of(std::string_view stored_json);

struct Selector {
  LabelSelector labels;
  FieldSelector fields;
  bool empty() const { return labels.empty() && fields.empty(); }
  bool matches(std::string_view stored_json) const {
    return (fields.empty() || fields.matches(stored_json)) &&
           (labels.empty() || labels.matches(labels_of(stored_json)));
  }
};

}  // namespace dure::apiserver
