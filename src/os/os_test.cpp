#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <set>

#include "os/clock.h"
#include "os/proc.h"
#include "os/sockets.h"

namespace dure::os {
namespace {

TEST(Random, UuidsAreVersionFourAndDiffer) {
  const auto random = make_random();
  const std::string a = random->uuid(), b = random->uuid();
  ASSERT_EQ(a.size(), 36u);
  EXPECT_EQ(a[8], '-');
  EXPECT_EQ(a[14], '4');
  EXPECT_TRUE(std::string_view("89ab").contains(a[19]));
  EXPECT_NE(a, b);
}

TEST(Random, TextUsesTheWholeAlphabet) {
  const auto random = make_seeded_random(3);
  std::set<char> seen;
  const std::string text = random->text(2000, "bcdfghjklmnpqrstvwxz2456789");
  for (const char c : text) seen.insert(c);
  EXPECT_EQ(text.size(), 2000u);
  EXPECT_EQ(seen.size(), 27u);
  EXPECT_EQ(make_seeded_random(3)->number(), make_seeded_random(3)->number());
}

TEST(Proc, CollectsOutputAndExitCode) {
  const auto output = run_command({.argv = {"sh", "-c", "cat; echo problem >&2; exit 3"}}, "hello");
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(output->out, "hello");
  EXPECT_EQ(output->err, "problem\n");
  EXPECT_EQ(output->exit.code, 3);
  EXPECT_FALSE(output->exit.ok());
}

TEST(Proc, AMissingProgramIsAnError) {
  const auto output = run_command({.argv = {"/nonexistent/program"}});
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().reason, "ProgramNotFound");
}

TEST(Proc, EnvironmentAndFolderAreTheChilds) {
  const auto output = run_command({.argv = {"/bin/sh", "-c", "echo $GREETING; pwd"},
                                   .env = std::vector<std::string>{"GREETING=moin"},
                                   .working_directory = "/"});
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(output->out, "moin\n/\n");
}

TEST(Proc, TimeRunsOutForAWholeGroup) {
  const auto output = run_command({.argv = {"sh", "-c", "sleep 100 & sleep 100"}}, {}, 50ms);
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().reason, "Timeout");
}

TEST(Proc, LargeInputAndOutputDoNotDeadlock) {
  const std::string big(3 << 20, 'x');
  const auto output = run_command({.argv = {"cat"}}, big);
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_EQ(output->out.size(), big.size());
}

TEST(Proc, KillAndWait) {
  const auto process = spawn({.argv = {"sleep", "100"}, .parent_death_signal = SIGKILL});
  ASSERT_TRUE(process);
  const auto early = (*process)->wait_for(1ms);
  ASSERT_TRUE(early);
  EXPECT_FALSE(early->has_value());
  ASSERT_TRUE((*process)->kill(SIGTERM));
  const auto exit = (*process)->wait();
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->signal, SIGTERM);
  EXPECT_EQ((*process)->wait()->signal, SIGTERM);
  EXPECT_TRUE((*process)->kill(SIGTERM));
}

TEST(Proc, PassesDescriptorsUnderOtherNumbers) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const auto process =
      spawn({.argv = {"sh", "-c", "echo through >&5"}, .descriptors = {{5, fds[1]}}});
  ASSERT_TRUE(process);
  close(fds[1]);
  ASSERT_TRUE((*process)->wait());
  char buffer[64];
  EXPECT_EQ(read(fds[0], buffer, sizeof buffer), 8);
  close(fds[0]);
}

TEST(Endpoint, TextsAreReadAndWritten) {
  for (const char* text : {"192.0.2.1:80", "[fd00::1]:65535"}) {
    const auto endpoint = Endpoint::parse(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(endpoint->text(), text);
  }
  for (const char* bad : {"", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", ":80", "fd00::1:80", "[192.0.2.1]:80", "a:80"})
    EXPECT_FALSE(Endpoint::parse(bad)) << bad;
}

TEST(UdpSocket, ATrainArrivesAsTheDatagramsItWasMadeOf) {
  auto from = UdpSocket::bind({Ip::v4(0x7f000001), 0}), to = UdpSocket::bind({Ip::v4(0x7f000001), 0});
  ASSERT_TRUE(from && to);
  std::vector<std::string> sent;
  for (const size_t size : {1400, 1400, 1400, 700, 1400, 32, 32, 0, 0, 1, 2000, 2000, 2000, 3, 3, 3})
    sent.emplace_back(size, static_cast<char>('a' + sent.size()));
  (*from)->send_train((*to)->local().value(), std::vector<std::string_view>(sent.begin(), sent.end()));
  std::vector<std::string> got;
  for (int i = 0; i < 100 && got.size() < sent.size(); ++i) {
    pollfd readable{(*to)->fd(), POLLIN, 0};
    poll(&readable, 1, 50);
    for (const Datagram& one : (*to)->receive()) {
      EXPECT_EQ(one.peer, (*from)->local().value());
      got.emplace_back(one.bytes);
    }
  }
  EXPECT_EQ(got, sent);
}

}  // namespace
}  // namespace dure::os
