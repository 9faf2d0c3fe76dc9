#include "kernel/wg.h"

#include <algorithm>

#include "base/text.h"
#include "kernel/links.h"

namespace dure::kernel {

std::optional<WgKey> WgKey::parse(std::string_view base64) {
  auto raw = base64_decode(base64);
  WgKey key;
  if (!raw || raw->size() != key.bytes.size()) return std::nullopt;
  std::ranges::copy(*raw, key.bytes.begin());
  return key;
}

std::string WgKey::text() const { return base64_encode({reinterpret_cast<const char*>(bytes.data()), bytes.size()}); }

Result<std::unique_ptr<Wg>> open_wg(Links& links, std::string_view name, WgOptions options, const NetNamespace* ns) {
  auto kernel = kernel_wg(links, ns), program = wireguard_go(links, std::move(options), ns);
  if (auto there = links.get(name); there && there->kind == "tun") {
    DURE_CHECK(program->create(name));
    return program;
  }
  Status made = kernel->create(name);
  if (made) return kernel;
  if (!made.error().is("Unsupported")) return fail(std::move(made).error());
  DURE_CHECK(program->create(name));
  return program;
}

}  // namespace dure::kernel
