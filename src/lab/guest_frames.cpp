#include "lab/guest_frames.h"

#include "base/text.h"

namespace dure::lab {
namespace {

constexpr std::string_view kOpening = "\n!dure-guest ";
constexpr size_t kHeaderBytes = 5, kOpeningBytes = kOpening.size() + guest_token_bytes + 1;

bool is_kind(char c) { return c == 'r' || c == 'i' || c == 'o' || c == 'e' || c == 'x'; }

}  // namespace

std::string guest_frame(GuestFrame::Kind kind, std::string_view bytes) {
  std::string out(1, static_cast<char>(kind));
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(bytes.size() >> shift);
  return out.append(bytes);
}

std::string guest_opening(std::string_view token) { return std::string(kOpening) + std::string(token) + "\n"; }

// Words with a zero byte after each.
std::string encode_request(const GuestRequest& request) {
  std::string out = std::to_string(request.rows) + '\0' + std::to_string(request.columns) + '\0' +
                    std::to_string(request.environment.size()) + '\0';
  for (const auto* words : {&request.environment, &request.arguments})
    for (const std::string& word : *words) out += word + '\0';
  return out;
}

std::optional<GuestRequest> decode_request(std::string_view bytes) {
  if (bytes.empty() || bytes.back() != '\0') return {};
  const auto words = split(bytes.substr(0, bytes.size() - 1), '\0');
  if (words.size() < 4) return {};
  const auto rows = parse_int(words[0]), columns = parse_int(words[1]), pairs = parse_int(words[2]);
  const auto further = static_cast<int64_t>(words.size()) - 3;
  if (!rows || !columns || !pairs || *rows < 0 || *rows > 9999 || *columns < 0 || *columns > 9999 || *pairs < 0 ||
      *pairs >= further)
    return {};
  GuestRequest out;
  out.rows = static_cast<int>(*rows);
  out.columns = static_cast<int>(*columns);
  const auto middle = words.begin() + 3 + *pairs;
  out.environment.assign(words.begin() + 3, middle);
  out.arguments.assign(middle, words.end());
  return out;
}

void GuestReader::feed(std::string_view bytes) { pending_.append(bytes); }

// Throws away what stands before it.
bool GuestReader::find_opening() {
  while (true) {
    const size_t at = pending_.find(kOpening);
    if (at == std::string::npos) {
      if (pending_.size() > kOpening.size()) pending_.erase(0, pending_.size() - kOpening.size());
      return false;
    }
    pending_.erase(0, at);
    if (pending_.size() < kOpeningBytes) return false;
    const std::string token = pending_.substr(kOpening.size(), guest_token_bytes);
    if (pending_[kOpeningBytes - 1] != '\n' || (!wanted_.empty() && token != wanted_)) {
      pending_.erase(0, 1);
      continue;
    }
    token_ = token;
    pending_.erase(0, kOpeningBytes);
    return true;
  }
}

std::optional<GuestFrame> GuestReader::next() {
  if (broken_ || (!opened_ && !(opened_ = find_opening()))) return {};
  if (pending_.starts_with(kOpening[0])) {
    if (!find_opening()) return {};
    restarted_ = true;
  }
  if (pending_.size() < kHeaderBytes) return {};
  size_t size = 0;
  for (size_t i = 0; i < 4; ++i) size |= static_cast<size_t>(static_cast<uint8_t>(pending_[1 + i])) << (8 * i);
  if (!is_kind(pending_[0]) || size > guest_frame_bytes_max) {
    broken_ = true;
    return {};
  }
  if (pending_.size() < kHeaderBytes + size) return {};
  GuestFrame frame{static_cast<GuestFrame::Kind>(pending_[0]), pending_.substr(kHeaderBytes, size)};
  pending_.erase(0, kHeaderBytes + size);
  return frame;
}

}  // namespace dure::lab
