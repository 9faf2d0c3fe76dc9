#include "bootstrap/finding.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"

namespace dure::bootstrap {

using Severity = Finding::Severity;

std::string finding_text(const Finding& finding) {
  const char* word = finding.severity == Severity::refuse ? "error"
                     : finding.severity == Severity::warn ? "warning"
                                                          : "note";
  std::string out = fmt::format("{}: {} [{}]\n", word, finding.sentence, finding.code);
  if (!finding.fix.empty()) out += fmt::format("try:   {}\n", finding.fix);
  return out;
}

std::string findings_text(const std::vector<Finding>& findings) {
  std::string out;
  for (const Severity severity : {Severity::refuse, Severity::warn, Severity::note})
    for (const Finding& finding : findings)
      if (finding.severity == severity) out += finding_text(finding);
  return out;
}

void ignore_refusals(std::vector<Finding>& findings, const std::vector<std::string>& codes) {
  for (Finding& finding : findings)
    for (const std::string& code : codes)
      if (finding.severity == Severity::refuse &&
          (equal_ignore_case(code, "all") || equal_ignore_case(code, finding.code)))
        finding.severity = Severity::warn;
}

std::optional<Error> refusal(const std::vector<Finding>& findings) {
  const auto first = std::ranges::find(findings, Severity::refuse, &Finding::severity);
  if (first == findings.end()) return std::nullopt;
  return Error{412, first->code, first->sentence, first->fix};
}

}  // namespace dure::bootstrap
