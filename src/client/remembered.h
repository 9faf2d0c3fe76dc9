// remember: a Client that still knows the last answers when the server cannot be reached, so that a node whose site was
// cut off before it was switched on starts its pods and answers for the cluster's names and Services.
//
// What `list`, `get`, `watch` and token requests brought is kept in one sealed file per collection (pki/seal.h) and
// answered again once the server has been silent for `patience`. A watch from such an answer fails, as the server is
// away, so reflectors go on trying and hear of the real state as soon as there is one; nothing above knows the
// difference. Writes are never remembered: they fail.
//
// Owner: the caller; `inner`, `executor`, `disk` and `random` outlive it. Thread: any. Bound: a collection over 16 MB
// is not kept. Cost on disk: a change is written after a second, or later so that no collection writes more than 100 KB
// a second; renewed heartbeats write nothing. What nobody asked for is forgotten after `forget_after`, or up to twice
// that, with a server, but for what is watched, tokens that are still good, and the objects that a remembered pod
// names: a container asks for them when it starts, which may have been weeks ago. An unreadable file is forgotten, with
// a line in the log.
#pragma once

#include <memory>
#include <string>

#include "client/client.h"
#include "os/clock.h"
#include "os/disk.h"
#include "run/loop.h"

namespace dure::client {

struct RememberOptions {
  std::string folder;  // made when missing; holds the key, too
  Duration patience = 5s;
  Duration forget_after = 1h;
};

Result<std::unique_ptr<Client>> remember(Client& inner, run::Executor& executor, os::Disk& disk, os::Random& random,
                                         RememberOptions options);

}  // namespace dure::client
