#include <cstdio>

#include <CLI/CLI.hpp>

#include "bootstrap/server_address.h"
#include "cmd/door.h"

namespace dure::cmd {
namespace {

void add_flag(CLI::App& app, const Flag& flag) {
  CLI::Option* option = std::visit(
      [&](auto* target) -> CLI::Option* {
        if constexpr (std::is_same_v<decltype(target), bool*>)
          return app.add_flag(flag.name, *target, flag.help);
        else
          return app.add_option(flag.name, *target, flag.help);
      },
      flag.target);
  if (auto* list = std::get_if<std::vector<std::string>*>(&flag.target); list && flag.name[0] == '-')
    option->delimiter(',')->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  if (flag.required) option->required();
  const bool* is_bool = std::get_if<bool*>(&flag.target) ? *std::get_if<bool*>(&flag.target) : nullptr;
  if (!is_bool && flag.name[0] == '-') option->capture_default_str();
}

// The chosen door ends up in `chosen`.
void furnish(CLI::App& app, const Door& door, const Door*& chosen) {
  for (const Flag& flag : door.flags) add_flag(app, flag);
  if (!door.notes.empty()) app.footer(door.notes);
  if (door.run) app.callback([&door, &chosen] { chosen = chosen ? chosen : &door; });
  for (const Door& inner : door.doors) furnish(*app.add_subcommand(inner.name, inner.summary), inner, chosen);
  if (!door.doors.empty()) app.require_subcommand(door.run ? 0 : 1);
}

// The doors that were gone through: "dure token create".
std::string path_to(const CLI::App& app) {
  const auto inner = app.get_subcommands();
  return inner.empty() ? app.get_name() : app.get_name() + " " + path_to(*inner.front());
}

// What CLI11 calls a missing subcommand, when there was a word that names none.
std::string unknown_door(const Door& house, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return {};
  for (const Door& door : house.doors)
    if (door.name == argv[1]) return {};
  return "there is no command \"" + std::string(argv[1]) + "\"";
}

}  // namespace

void print_error(const Error& error) {
  fprintf(stderr, "error: %s [%s]\n", error.message.c_str(), error.reason.c_str());
  for (const Cause& cause : error.causes) fprintf(stderr, "  %s: %s\n", cause.field.c_str(), cause.message.c_str());
  if (!error.remedy.empty()) fprintf(stderr, "try:   %s\n", error.remedy.c_str());
}

int enter(const Door& house, int argc, char** argv) {
  CLI::App app(house.summary, house.name);
  app.set_help_flag("-h,--help", "Print this help and exit");
  const Door* chosen = nullptr;
  furnish(app, house, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    for (int i = 1; i < argc; ++i)
      if (const Status plain = bootstrap::check_plain_text(argv[i]); !plain) {
        print_error(plain.error());
        return 2;
      }
    const std::string unknown = unknown_door(house, argc, argv);
    fprintf(stderr, "error: %s [Usage]\n", unknown.empty() ? error.what() : unknown.c_str());
    fprintf(stderr, "try:   %s --help\n", path_to(app).c_str());
    return 2;
  }
  if (!chosen) return 2;
  Result<int> status = chosen->run();
  if (status) return *status;
  print_error(status.error());
  return 1;
}

}  // namespace dure::cmd
