#include <utility>

#include "pods/kubelet_api.h"

namespace dure::pods {

namespace {

constexpr size_t unsent_high = 1 << 20;  // more waiting at one end: the other is not read

// Both streams live on one loop, and so does this. Both streams and what is known of their ends. Each callback holds
// the pipe; when both directions are over the streams go, outside of any callback, and with them the callbacks.
struct Pipe : std::enable_shared_from_this<Pipe> {
  std::unique_ptr<wire::Stream> ends[2];
  bool closed = false;

  void start() {
    for (int i : {0, 1}) {
      wire::Stream::Callbacks callbacks;
      callbacks.on_data = [self = shared_from_this(), i](std::string_view bytes) { self->data(i, bytes); };
      callbacks.on_end = [self = shared_from_this(), i] {
        if (self->whole()) self->other(i).finish_writing();
      };
      callbacks.on_close = [self = shared_from_this()](Error) { self->close(); };
      callbacks.on_drained = [self = shared_from_this(), i] {
        if (self->whole()) self->other(i).pause(false);
      };
      ends[i]->start(std::move(callbacks));
    }
  }

  bool whole() const { return ends[0] && ends[1]; }
  wire::Stream& other(int i) { return *ends[1 - i]; }

  void data(int i, std::string_view bytes) {
    if (!whole()) return;
    wire::Stream& out = other(i);
    out.write(SharedBytes(std::string(bytes)));
    if (out.unsent() > unsent_high) ends[i]->pause(true);
  }

  // One side is gone: the other gets what is on its way, then goes too.
  void close() {
    if (!std::exchange(closed, true)) linger(0);
  }

  void linger(int tries) {
    const bool unsent = ends[0]->unsent() > 0 || ends[1]->unsent() > 0;
    if (unsent && tries < 50) {
      auto timer = std::make_shared<std::unique_ptr<run::Timer>>();
      *timer = ends[0]->loop().after(20ms, [self = shared_from_this(), timer, tries] { self->linger(tries + 1); });
      return;
    }
    run::Loop& loop = ends[0]->loop();
    loop.post([a = std::move(ends[0]), b = std::move(ends[1])]() mutable {
      a.reset();
      b.reset();
    });
  }
};

}  // namespace

void pipe_streams(std::unique_ptr<wire::Stream> a, std::unique_ptr<wire::Stream> b) {
  auto pipe = std::make_shared<Pipe>();
  pipe->ends[0] = std::move(a);
  pipe->ends[1] = std::move(b);
  pipe->start();
}

}  // namespace dure::pods
