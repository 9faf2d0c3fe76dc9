// Joining Streams: raw bytes both ways with back-pressure, also when the two live on different loops.
#pragma once

#include <functional>
#include <memory>

#include "wire/http.h"

namespace dure::wire {

// A stream whose callbacks come on `loop` instead of its own. Bytes are copied once when the loops differ; a stream
// that lives there already is answered unchanged. Methods stay callable from any thread.
std::unique_ptr<Stream> rehome(std::unique_ptr<Stream> stream, run::Loop& loop);

// Copies a to b and b to a until both directions ended or one side broke; half closes are passed on; `done` runs
// once, on a's loop, when both streams are gone: b's loop is not touched afterwards. Neither side is read faster than
// the other takes (about 256 KB in between). A loop that ends takes the pipes with it whose streams are both its own,
// without `done`; a pipe between two loops has to be over before. Any thread.
void pipe_streams(std::unique_ptr<Stream> a, std::unique_ptr<Stream> b, std::move_only_function<void()> done = {});

// Lets go of a started stream in order: what was written still leaves (for at most two seconds), then it is closed.
// The stream waits on its own loop and belongs to nothing else meanwhile; its callbacks must be harmless from now on.
// Its loop's thread, or that of the loop it was rehomed to.
void farewell(std::unique_ptr<Stream> stream);

}  // namespace dure::wire
