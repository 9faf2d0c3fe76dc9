#include "lab/control.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace dure::lab {
namespace {

constexpr size_t kRequestBytesMax = 4096;

Result<sockaddr_un> address_of(const std::string& folder) {
  const std::string path = folder + "/control";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(bad_request("the path " + path + " is too long for a socket; set DURE_LAB_FOLDER to a shorter one"));
  memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

std::string read_request(int fd) {
  std::string text;
  char buffer[1024];
  pollfd waiting{fd, POLLIN, 0};
  while (text.size() < kRequestBytesMax && !text.ends_with('\n') && poll(&waiting, 1, 2000) == 1) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  if (!text.ends_with('\n')) return {};
  text.pop_back();
  return text;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string answer_text(const Result<std::string>& result) {
  if (result) return "ok\n" + *result;
  const Error& error = result.error();
  return "error\n" + error.reason + "\n" + error.message + "\n" + error.remedy;
}

Result<std::string> read_answer(const std::string& text) {
  if (text.starts_with("ok\n")) return text.substr(3);
  const auto lines = split(text, '\n');
  if (lines.size() < 4 || lines[0] != "error") return fail(internal("the lab's supervisor ended while it was asked"));
  // The remedy is the last line; the sentence may have several.
  const size_t begin = lines[0].size() + lines[1].size() + 2, end = text.size() - lines.back().size() - 1;
  return fail(Error{500, std::string(lines[1]), text.substr(begin, end - begin), std::string(lines.back())});
}

}  // namespace

Result<int> listen_control(const std::string& folder) {
  DURE_TRY(const sockaddr_un address, address_of(folder));
  unlink(address.sun_path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 16) != 0)
    return fail(from_errno("listen on the lab's control socket", errno));
  return fd;
}

void serve_control(int listener, const Answer& answer) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return;
  std::vector<std::string> words;
  const std::string request = read_request(fd);
  for (std::string_view word : split(request, '\t')) words.emplace_back(word);
  if (!request.empty()) send_all(fd, answer_text(answer(words)));
  shutdown(fd, SHUT_RDWR);  // processes that the change started have copies of the descriptor
  close(fd);
}

Result<std::string> ask_control(const std::string& folder, const std::vector<std::string>& words) {
  DURE_TRY(const sockaddr_un address, address_of(folder));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int why = errno;
    if (fd >= 0) close(fd);
    return fail(from_errno("reach the lab's supervisor", why));
  }
  for (const std::string& word : words)
    if (word.find_first_of("\t\n") != std::string::npos) return fail(bad_request("a word with a tab or a line end"));
  send_all(fd, join(words, "\t") + "\n");
  std::string text;
  char buffer[1024];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
  close(fd);
  return read_answer(text);
}

}  // namespace dure::lab
