#include "host/node_pages.h"

#include "bootstrap/checks/preflight.h"
#include "bootstrap/node_identity.h"
#include "os/clock.h"
#include "os/disk.h"
#include "pki/certificate.h"
#include "pki/folder.h"
#include "schema/document.h"
#include "schema/json.h"
#include "schema/plain.h"

namespace dure::host {
namespace {

void answer(wire::Exchange& exchange, int status, std::string body, std::string_view type) {
  wire::Response response;
  response.status = status;
  response.headers.set("content-type", type);
  response.body = std::move(body);
  exchange.respond(std::move(response));
}

void add_certificate(schema::Document& out, schema::Node* list, std::string_view name, WallTime ends) {
  schema::add_row(out, list, {{"name", name}, {"ends", format_time(ends)}});
}

// Of the control plane, where it is, and of the node itself.
void add_certificates(schema::Document& out, os::Disk& disk, const bootstrap::Places& places) {
  schema::Node* list = schema::add_list(out, out.root(), "certificates");
  const auto random = os::make_random();
  if (const auto rows = pki::Folder(disk, *random, places.kubernetes).check_expiration())
    for (const auto& row : *rows)
      if (!row.missing) add_certificate(out, list, row.name, row.expires);
  const auto identity = bootstrap::read_identity(disk, places);
  if (!identity) return;
  if (const auto own = pki::Certificate::from_pem(identity->certificate_pem))
    add_certificate(out, list, "kubelet.conf", own->not_after());
}

}  // namespace

wire::Handler with_node_pages(wire::Handler below, NodePages pages, run::Executor& jobs) {
  auto shared = std::make_shared<const NodePages>(std::move(pages));
  return [below = std::move(below), shared, &jobs](std::shared_ptr<wire::Exchange> exchange) {
    const auto found = shared->find(exchange->request().path());
    if (found == shared->end()) return below(std::move(exchange));
    jobs.post([shared, found, exchange = std::move(exchange)] {
      const auto page = found->second();
      if (page) return answer(*exchange, 200, *page, "application/json");
      answer(*exchange, 500, page.error().message, "text/plain");
    });
  };
}

Result<std::string> check_page(const bootstrap::Places& places, const std::string& version) {
  const auto disk = os::make_disk();
  const auto settings = bootstrap::read_agent_settings(*disk, places);
  const auto findings = bootstrap::check_this_machine(*disk, bootstrap::options_of_member(*disk, places), places,
                                                      settings ? settings->runtime_endpoint : "");
  DURE_TRY(schema::Document out, schema::decode_json(SharedBytes(bootstrap::findings_json(findings))));
  out.set(out.member(out.root(), "version"), std::string_view(version));
  add_certificates(out, *disk, places);
  // Last, so that it is the time of the answer: whoever asks compares clocks.
  out.set(out.member(out.root(), "now"), std::string_view(format_micro_time(os::make_clock()->wall_now())));
  return schema::to_json(out);
}

}  // namespace dure::host
