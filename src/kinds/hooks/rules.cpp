#include "kinds/hooks/rules.h"

#include <algorithm>

#include "base/text.h"
#include "schema/text_rules.h"

namespace dure::kinds::rules {

using namespace schema;

void check_port(const Node* port, const Path& path, Causes& causes) {
  if (port && port->is_string()) {
    if (const std::string wrong = check_port_name(port->string()); !wrong.empty())
      causes.push_back(invalid(path, port->string(), wrong));
    return;
  }
  const int64_t number = port ? port->integer() : 0;
  if (number < 1 || number > 65535) causes.push_back(invalid(path, number, "must be between 1 and 65535, inclusive"));
}

void check_count_or_percent(const Node* value, const Path& path, Causes& causes) {
  if (!value) return;
  if (!value->is_string()) {
    if (value->integer() < 0) causes.push_back(invalid(path, value->integer(), "must be greater than or equal to 0"));
    return;
  }
  const std::string_view text = value->string();
  const bool digits = text.size() > 1 && text.back() == '%' &&
                      std::all_of(text.begin(), text.end() - 1, [](char c) { return c >= '0' && c <= '9'; });
  if (!digits)
    causes.push_back(invalid(path, text,
                             "a valid percent string must be a numeric string followed by an "
                             "ending '%' (e.g. '1%',  or '93%', regex used "
                             "for validation is '[0-9]+%')"));
  else if (parse_int(text.substr(0, text.size() - 1)).value_or(1000) > 100)
    causes.push_back(invalid(path, text, "must not be greater than 100%"));
}

int64_t count_or_percent(const Node* value) {
  if (!value) return 0;
  if (!value->is_string()) return value->integer();
  const std::string_view text = value->string();
  return text.empty() ? 0 : parse_int(text.substr(0, text.size() - 1)).value_or(0);
}

bool selects(const Node* selector, const Node* labels) {
  const auto value = [&](std::string_view key) { return labels ? labels->find(key) : nullptr; };
  const Node* plain = selector->find("matchLabels");
  for (const Node* wanted = plain ? plain->first() : nullptr; wanted; wanted = wanted->next()) {
    const Node* label = value(wanted->key());
    if (!label || label->string() != wanted->string()) return false;
  }
  const Node* expressions = selector->find("matchExpressions");
  for (const Node* e = expressions ? expressions->first() : nullptr; e; e = e->next()) {
    const Node* label = value(text(e, "key"));
    const std::string_view how = text(e, "operator");
    const Node* values = e->find("values");
    bool listed = false;
    for (const Node* v = values ? values->first() : nullptr; v && label; v = v->next())
      listed = listed || v->string() == label->string();
    if (how == "In" && !listed) return false;
    if (how == "NotIn" && listed) return false;
    if (how == "Exists" && !label) return false;
    if (how == "DoesNotExist" && label) return false;
  }
  return true;
}

void check_selector(const Node* spec, std::string_view kind, const Path& path, Causes& causes) {
  const Node* selector = spec->find("selector");
  if (!selector) return;  // told by the row
  const Path at = path.child("selector");
  if (!is_set(selector, "matchLabels") && !is_set(selector, "matchExpressions")) {
    causes.push_back(invalid(at, selector, "empty selector is invalid for " + std::string(kind)));
    return;
  }
  const Node* labels = spec->find("template", "metadata", "labels");
  if (selects(selector, labels)) return;
  Document none;
  const Path template_path = path.child("template"), metadata = template_path.child("metadata");
  causes.push_back(
      invalid(metadata.child("labels"), labels ? labels : none.root(), "`selector` does not match template `labels`"));
}

void check_restart_always(const Node* spec, const Path& path, Causes& causes) {
  const Node* pod = spec->find("template", "spec");
  const std::string_view policy = text(pod, "restartPolicy");
  if (policy.empty() || policy == "Always") return;
  constexpr std::string_view kAlways[] = {"Always"};
  const Path template_path = path.child("template"), pod_path = template_path.child("spec");
  causes.push_back(not_supported(pod_path.child("restartPolicy"), policy, kAlways));
}

}  // namespace dure::kinds::rules
