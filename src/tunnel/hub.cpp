#include "tunnel/hub.h"

#include "base/log.h"

namespace dure::tunnel {

void Hub::accept(const std::shared_ptr<wire::Exchange>& exchange, const std::string& node) {
  if (exchange->request().headers.get("upgrade") != tunnel_protocol) {
    wire::Response response;
    response.status = 426;
    response.headers.set("upgrade", tunnel_protocol);
    response.body = "this path is for the tunnel of an agent\n";
    exchange->respond(std::move(response));
    return;
  }
  wire::Headers headers;
  headers.set("upgrade", tunnel_protocol);
  headers.set("connection", "Upgrade");
  auto stream = exchange->upgrade(std::move(headers));
  if (!stream) {
    wire::Response response;
    response.status = 505;
    response.body = "the tunnel needs HTTP/1.1\n";
    exchange->respond(std::move(response));
    return;
  }
  std::weak_ptr<Table> weak = table_;
  auto self = std::make_shared<std::weak_ptr<Mux>>();
  Mux::Callbacks callbacks;
  callbacks.on_end = [weak, node, self](const Error& why) {
    log(LogLevel::info, "tunnel", "node disconnected", {{"node", node}, {"why", why.message}});
    const auto table = weak.lock();
    if (!table) return;
    const std::lock_guard lock(table->mutex);
    const auto found = table->nodes.find(node);
    if (found != table->nodes.end() && found->second == self->lock()) table->nodes.erase(found);
  };
  auto mux = Mux::start(std::move(stream), false, std::move(callbacks));
  *self = mux;
  log(LogLevel::info, "tunnel", "node connected", {{"node", node}});
  std::shared_ptr<Mux> former;
  {
    const std::lock_guard lock(table_->mutex);
    former = std::exchange(table_->nodes[node], std::move(mux));
  }
  if (former) former->close();
}

Result<std::unique_ptr<wire::Stream>> Hub::dial(std::string_view node) {
  std::shared_ptr<Mux> mux;
  {
    const std::lock_guard lock(table_->mutex);
    if (const auto found = table_->nodes.find(node); found != table_->nodes.end()) mux = found->second;
  }
  if (!mux || mux->closed())
    return fail(Error{502, "NodeNotConnected",
                      "the agent of node \"" + std::string(node) + "\" is not connected to this server"});
  return mux->open();
}

bool Hub::connected(std::string_view node) const {
  const std::lock_guard lock(table_->mutex);
  const auto found = table_->nodes.find(node);
  return found != table_->nodes.end() && !found->second->closed();
}

void Hub::close() {
  std::map<std::string, std::shared_ptr<Mux>, std::less<>> nodes;
  {
    const std::lock_guard lock(table_->mutex);
    nodes.swap(table_->nodes);
  }
  for (const auto& [name, mux] : nodes) mux->close();
}

}  // namespace dure::tunnel
