// Finding: one thing about a machine or a cluster that a person should know before it hurts: a stable code, the cause
// in one plain sentence, the command that fixes it. Verdicts (join, ranges, check, doctor) are pure functions that
// answer lists of these; printing, exit codes and fixing are done by whoever asked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "bootstrap/journal.h"

namespace dure::bootstrap {

// What `--fix` does about a finding. `change` is recorded in the journal before anything is made, so that reset undoes
// it (it carries the former value where there is one); `value` is what is put there: the sysctl's value, the file's
// text.
struct FixAction {
  Change change;
  std::string value = {};
  friend bool operator==(const FixAction&, const FixAction&) = default;
};

struct Finding {
  enum class Severity {
    note,    // worth knowing; changes nothing
    warn,    // works, but will hurt
    refuse,  // does not work, or breaks what is there: init and join stop
  };
  std::string code;  // stable CamelCase: "ClockOff"
  Severity severity = Severity::refuse;
  std::string sentence;                 // with the values that were seen; no full stop at the end
  std::string fix;                      // a command, or what to do; never empty for `refuse`
  std::vector<FixAction> actions = {};  // empty: nothing that could be done for the user
  friend bool operator==(const Finding&, const Finding&) = default;
};

// As all doors print it: "error: SENTENCE [CODE]", "warning: ...", "note: ...", then "try:   FIX".
std::string finding_text(const Finding& finding);
std::string findings_text(const std::vector<Finding>& findings);  // worst first, else in their order

// Refusals with one of these codes (in any case; "all": every one) become warnings: --ignore-preflight-errors.
void ignore_refusals(std::vector<Finding>& findings, const std::vector<std::string>& codes);

// The first refusal as an error; empty: nothing refuses.
std::optional<Error> refusal(const std::vector<Finding>& findings);

}  // namespace dure::bootstrap
