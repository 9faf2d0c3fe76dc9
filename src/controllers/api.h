// What every loop of this room works with: the typed views of the groups it touches and the client side of the API.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "client/cache.h"
#include "client/client.h"
#include "client/events.h"
#include "client/loop.h"
#include "client/object_meta.h"
#include "kinds/views/apps_v1.h"
#include "kinds/views/core_v1.h"
#include "kinds/views/meta_v1.h"
#include "schema/document.h"

namespace dure::controllers {

namespace core = kinds::core_v1;
namespace apps = kinds::apps_v1;
namespace meta = kinds::meta_v1;

using client::Cache;
using client::Caches;
using client::Client;
using client::EventAbout;
using client::EventRecorder;
using client::Key;
using client::LoopSpec;
using client::Outcome;
using client::Resource;
using schema::Document;
using schema::Node;
using schema::Object;

using Enqueue = std::function<void(Key)>;

// What the answer to a write means for its loop: an object that is gone needs no more.
template <class Answer>
Outcome outcome_of(Answer written) {
  if (written || written.error().code == 404) return Outcome::done();
  return Outcome::failed(std::move(written).error());
}

}  // namespace dure::controllers
