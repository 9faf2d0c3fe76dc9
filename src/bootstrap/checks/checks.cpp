#include "bootstrap/checks/checks.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "schema/json.h"
#include "schema/plain.h"

namespace dure::bootstrap {
namespace {

using Severity = Finding::Severity;

const char* name_of(Severity severity) {
  switch (severity) {
    case Severity::note:
      return "note";
    case Severity::warn:
      return "warning";
    case Severity::refuse:
      return "error";
  }
  return "";
}

size_t count(const std::vector<Finding>& findings, Severity severity) {
  return static_cast<size_t>(std::ranges::count(findings, severity, &Finding::severity));
}

}  // namespace

std::vector<Check> all_checks() {
  std::vector<Check> out;
  for (const auto& part :
       {kernel_checks(), machine_checks(), network_checks(), firewall_checks(), runtime_checks(), leftover_checks()})
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

std::vector<Finding> check_machine(const MachineFacts& facts, const CheckOptions& options) {
  std::vector<Finding> out;
  for (const Check& check : all_checks()) {
    if (check.server_only && options.role != Role::server) continue;
    auto verdict = check.look(facts, options);
    if (!verdict) continue;
    out.push_back({.code = std::string(check.code),
                   .severity = verdict->severity.value_or(check.severity),
                   .sentence = std::move(verdict->sentence),
                   .fix = std::move(verdict->fix),
                   .actions = std::move(verdict->actions)});
  }
  return out;
}

std::string check_report(const std::vector<Finding>& findings, size_t checks) {
  size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.code.size());
  std::string out;
  for (const Severity severity : {Severity::refuse, Severity::warn, Severity::note})
    for (const Finding& finding : findings) {
      if (finding.severity != severity) continue;
      out += fmt::format("{:<8} {:<{}}  {}\n", name_of(severity), finding.code, width, finding.sentence);
      if (!finding.fix.empty()) out += fmt::format("{:<{}}  {}\n", "", width + 9, finding.fix);
    }
  if (checks == 0) return out;
  return out + fmt::format("{} checks: {} errors, {} warnings, {} notes\n", checks, count(findings, Severity::refuse),
                           count(findings, Severity::warn), count(findings, Severity::note));
}

std::string findings_json(const std::vector<Finding>& findings) {
  schema::Document out;
  schema::Node* list = schema::add_list(out, out.root(), "findings");
  for (const Finding& finding : findings) {
    schema::Node* one = schema::add_row(out, list,
                                        {{"code", finding.code},
                                         {"severity", name_of(finding.severity)},
                                         {"sentence", finding.sentence},
                                         {"fix", finding.fix}});
    out.set(out.member(one, "fixable"), !finding.actions.empty());
  }
  return schema::to_json(out);
}

}  // namespace dure::bootstrap
