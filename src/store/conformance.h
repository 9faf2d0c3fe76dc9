// The conformance suite of Store: what every implementation must do. A test binary links conformance.cpp and says
//
//   INSTANTIATE_TEST_SUITE_P(Memory, StoreConformance, testing::Values(Subject{...}), subject_name);
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "store/store.h"

namespace dure::store {

struct Subject {
  std::string name;
  // An empty store; what it needs lives as long as the pointer.
  std::function<std::shared_ptr<Store>(HistoryLimits)> make;
};

class StoreConformance : public testing::TestWithParam<Subject> {
 protected:
  std::shared_ptr<Store> make(HistoryLimits limits = {}) { return GetParam().make(limits); }
};

inline std::string subject_name(const testing::TestParamInfo<Subject>& info) { return info.param.name; }

}  // namespace dure::store
