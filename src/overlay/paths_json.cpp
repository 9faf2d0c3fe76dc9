#include "overlay/paths.h"
#include "schema/json.h"

namespace dure::overlay {
namespace {

double milliseconds(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

void put_rung(schema::Document& document, schema::Node* to, const RungReport& rung) {
  document.make_object(to);
  const auto member = [&](std::string_view name) { return document.member(to, name); };
  document.set(member("rung"), rung_name(rung.rung));
  document.set(member("why"), why_code(rung.why));
  document.set(member("message"), why_sentence(rung.why));
  if (!rung.via.empty()) document.set(member("via"), rung.via);
  if (rung.tried) document.set(member("triedSecondsAgo"), std::chrono::duration<double>(*rung.tried).count());
  if (rung.latency) document.set(member("latencyMs"), milliseconds(*rung.latency));
}

}  // namespace

std::string paths_json(std::string_view node, const std::vector<PathReport>& reports) {
  schema::Document document;
  document.set(document.member(document.root(), "node"), node);
  schema::Node* list = document.member(document.root(), "paths");
  document.make_list(list);
  for (const PathReport& report : reports) {
    schema::Node* to = document.append(list);
    document.make_object(to);
    const auto member = [&](std::string_view name) { return document.member(to, name); };
    document.set(member("node"), report.node);
    document.set(member("connected"), report.connected);
    document.set(member("rung"), rung_name(report.rung));
    document.set(member("via"), report.via);
    document.set(member("latencyMs"), milliseconds(report.latency));
    document.set(member("loss"), report.loss);
    document.set(member("mtu"), static_cast<int64_t>(report.mtu));
    document.set(member("seconds"), std::chrono::duration<double>(report.since).count());
    schema::Node* rungs = document.member(to, "rungs");
    document.make_list(rungs);
    for (const RungReport& rung : report.rungs) put_rung(document, document.append(rungs), rung);
  }
  return schema::to_json(document);
}

}  // namespace dure::overlay
