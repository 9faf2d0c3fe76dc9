// Paths, queries, selectors, Accept headers, continue tokens and stored JSON with any bytes: nothing crashes, and what
// is accepted can be used.
#include <cstdint>

#include "apiserver/output.h"
#include "apiserver/path.h"
#include "apiserver/peek.h"
#include "apiserver/selector.h"
#include "apiserver/stored.h"
#include "kinds/kinds.h"
#include "run/virtual_executor.h"
#include "store/store.h"
#include "wire/http.h"

using namespace dure;
using namespace dure::apiserver;

namespace {

struct Small {
  std::unique_ptr<store::Store> store = store::make_memory_store();
  run::VirtualExecutor executor;
  std::unique_ptr<os::Random> random = os::make_seeded_random(1);
  Api api{*store, executor, *random};
  Small() {
    api.set_guards({.authorize = [](const User&, const Attributes&) { return Verdict{true, ""}; }});
    write("create", "namespaces", "", R"({"metadata":{"name":"default"}})");
    write("create", "configmaps", "default", R"({"metadata":{"name":"a","labels":{"x":"y"}}})");
  }
  ApiResponse write(std::string verb, std::string_view resource, std::string ns, std::string body) {
    ApiRequest request;
    request.verb = std::move(verb);
    request.resource = kinds::find_resource("", "v1", resource);
    request.namespace_ = std::move(ns);
    request.body = std::move(body);
    return api.handle_and_wait(std::move(request));
  }
};

Small& small() {
  static Small world;
  return world;
}

void try_target(std::string_view text) {
  const size_t mark = text.find('?');
  const Query query = wire::parse_query(mark == std::string_view::npos ? std::string_view{} : text.substr(mark + 1));
  const auto route = parse_route("GET", text.substr(0, mark), query);
  if (!route) return;
  ApiRequest request;
  request.verb = "list";
  request.resource = kinds::find_resource("", "v1", "configmaps");
  request.namespace_ = route->namespace_;
  if (parse_options(query, request)) small().api.handle_and_wait(std::move(request));
}

void try_selectors(std::string_view text) {
  constexpr std::string_view object = R"({"metadata":{"name":"a","labels":{"x":"y"}}})";
  if (const auto labels = LabelSelector::parse(text)) labels->matches(labels_of(object));
  if (const auto fields = FieldSelector::parse(text, {}, true)) fields->matches(object);
}

void try_json(std::string_view text) {
  JsonCursor cursor(text);
  while (cursor.next()) json_text(cursor.value());
  labels_of(text);
  json_path(text, "metadata.name");
  std::string out;
  append_json_string(out, text);
  spliced(text, 7);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      try_target(text);
      break;
    case 1:
      try_selectors(text);
      break;
    case 2:
      (void)negotiate(text, true);
      break;
    case 3:
      try_json(text);
      break;
    case 4:
      if (text.find("dryRun") == std::string_view::npos)
        small().write("create", "configmaps", "default", std::string(text));
      break;
  }
  return 0;
}
