// SharedBytes: immutable bytes with shared ownership; copying costs one reference count.
// One encoding of an object is handed to every watcher and every LIST in this form.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace dure {

class SharedBytes {
 public:
  SharedBytes() = default;
  explicit SharedBytes(std::string bytes)
      : owner_(std::make_shared<const std::string>(std::move(bytes))), view_(*owner_) {}
  SharedBytes(std::shared_ptr<const std::string> owner, std::string_view part)
      : owner_(std::move(owner)), view_(part) {}

  std::string_view view() const { return view_; }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }
  // A part of the same bytes; shares the owner.
  SharedBytes slice(size_t offset, size_t length = std::string_view::npos) const {
    return SharedBytes(owner_, view_.substr(offset, length));
  }
  friend bool operator==(const SharedBytes& a, const SharedBytes& b) { return a.view_ == b.view_; }

 private:
  std::shared_ptr<const std::string> owner_;
  std::string_view view_;
};

}  // namespace dure
