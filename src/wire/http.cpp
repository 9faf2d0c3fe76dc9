#include "wire/http.h"

#include "base/text.h"

namespace dure::wire {

std::string_view Headers::get(std::string_view lower_case_name) const {
  for (const auto& [name, value] : items)
    if (name == lower_case_name) return value;
  return {};
}
std::vector<std::string_view> Headers::all(std::string_view lower_case_name) const {
  std::vector<std::string_view> out;
  for (const auto& [name, value] : items)
    if (name == lower_case_name) out.push_back(value);
  return out;
}
void Headers::set(std::string_view name, std::string_view value) {
  std::string key = lower(name);
  std::erase_if(items, [&](const auto& item) { return item.first == key; });
  items.emplace_back(std::move(key), value);
}
void Headers::add(std::string_view name, std::string_view value) {
  items.emplace_back(lower(name), value);
}

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto part : split(query, '&')) {
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    const auto value =
        equals == std::string_view::npos ? std::string_view{} : part.substr(equals + 1);
    out.emplace_back(percent_decode(part.substr(0, equals), true), percent_decode(value, true));
  }
  return out;
}

}  // namespace dure::wire
