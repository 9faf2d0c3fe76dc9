#include "cmd/cni.h"

#include <stdlib.h>

#include <map>
#include <sstream>
#include <string>

#include <cstdio>

#include "overlay/cni.h"

namespace dure::cmd {

int run_cni() {
  std::map<std::string, std::string> environment;
  for (const char* name :
       {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "CNI_NETNS_OVERRIDE"})
    if (const char* value = getenv(name)) environment[name] = value;
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, stdin)) > 0;) text.append(buffer, n);
  std::istringstream in(text);
  std::ostringstream out;
  const int status = overlay::cni_main(environment, in, out);
  const std::string answer = out.str();
  fwrite(answer.data(), 1, answer.size(), stdout);
  return status;
}

}  // namespace dure::cmd
