// A Door: one subcommand as a table of flags and a function. flags.cpp turns the table into CLI11 and back.
#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace dure::cmd {

struct Flag {
  std::string name;  // "--pod-network-cidr", "-f,--follow"; without dashes: a positional argument
  std::variant<std::string*, int*, bool*, std::vector<std::string>*> target;
  std::string help;
  bool required = false;
};

struct Door {
  std::string name, summary;
  std::vector<Flag> flags = {};
  std::function<Result<int>()> run = {};  // the exit status; an Error is printed with its remedy and ends with 1
  std::vector<Door> doors = {};           // subcommands
  std::string notes = {};                 // below the flags in --help
};

// Parses and runs. Usage errors end with 2 and name the flag.
int enter(const Door& house, int argc, char** argv);

void print_error(const Error& error);

Door init_door();
Door join_door();
Door server_door();
Door agent_door();
Door token_door();
Door certs_door();
Door kubeconfig_door();
Door reset_door();
Door check_door();
Door status_door();
Door doctor_door();
Door verify_door();
Door config_door();
Door lab_door();
Door path_door();
Door version_door();

}  // namespace dure::cmd
