// The published example objects, for tests: found through DURE_GOLDEN or beside the source folder.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace dure::kinds::golden {

inline std::optional<std::filesystem::path> folder() {
  if (const char* set = std::getenv("DURE_GOLDEN")) return std::filesystem::path(set);
  for (const char* place : {"../shared/golden", "../../shared/golden"})
    if (std::filesystem::is_directory(place)) return std::filesystem::path(place);
  return std::nullopt;
}

inline std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// "apps.v1.Deployment", ...; sorted.
inline std::vector<std::string> names(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace dure::kinds::golden
