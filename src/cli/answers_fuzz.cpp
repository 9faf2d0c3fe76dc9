// What nodes and pods answer to verify and doctor: a broken or hostile one must not take the asker down.
#include <cstddef>
#include <cstdint>

#include "bootstrap/checks/checks.h"
#include "cli/doctor.h"
#include "cli/matrix.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dure::cli;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::vector<Target> targets = {
      {"witness-0", "10.244.0.5", "10.96.3.4", "witness-0.dure-verify.svc.cluster.local"},
      {"witness-1", "", "10.96.3.5", "witness-1.dure-verify.svc.cluster.local"}};
  Matrix matrix({"a", "b"});
  take_answers(matrix, 0, targets, text);
  matrix_text(matrix);
  matrix_json(matrix);
  Examination seen;
  if (auto answer = read_node_answer("a", text, {}, {})) seen.answers.push_back(*std::move(answer));
  const auto findings = diagnose(seen);
  dure::bootstrap::check_report(findings, 1);
  dure::bootstrap::findings_json(findings);
  return 0;
}
