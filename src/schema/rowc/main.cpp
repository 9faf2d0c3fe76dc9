// rowc: compiles texts of rows into tables and typed views. See README.md.
//
//   rowc --namespace dure::kinds --include kinds/views --out BUILD_FOLDER [--registry] a.rows
//   b.rows ...
#include <cstdio>
#include <fstream>
#include <sstream>

#include "schema/rowc/model.h"

namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    std::exit(1);
  }
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Untouched when the content is the same, so that nothing that depends on it is rebuilt.
void write_file(const std::string& path, const std::string& content) {
  {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream old;
    if (in) old << in.rdbuf();
    if (in && old.str() == content) return;
  }
  std::ofstream out(path, std::ios::binary);
  out << content;
  if (!out.flush()) {
    std::fprintf(stderr, "%s: cannot be written\n", path.c_str());
    std::exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string name_space, include, out, stem_namespace;
  bool registry = false;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--namespace" && i + 1 < argc)
      name_space = argv[++i];
    else if (word == "--include" && i + 1 < argc)
      include = argv[++i];
    else if (word == "--out" && i + 1 < argc)
      out = argv[++i];
    else if (word == "--registry")
      registry = true;
    else
      paths.push_back(word);
  }
  if (name_space.empty() || include.empty() || out.empty() || paths.empty()) {
    std::fprintf(stderr, "usage: rowc --namespace N --include FOLDER --out FOLDER [--registry] FILE.rows...\n");
    return 2;
  }
  dure::rowc::Model model;
  for (const std::string& path : paths) model.files.push_back(dure::rowc::parse(path, read_file(path), name_space));
  dure::rowc::resolve(model);
  for (const auto& file : model.files) {
    write_file(out + "/" + include + "/" + file->stem + ".h", emit_view_header(model, *file, include));
    write_file(out + "/" + file->stem + ".cpp", emit_tables(model, *file, include));
  }
  if (registry) write_file(out + "/registry.cpp", emit_registry(model, name_space));
  return 0;
}
