#include "bootstrap/server_address.h"

#include <gtest/gtest.h>

namespace dure::bootstrap {
namespace {

TEST(ServerAddress, WhatPeopleWrite) {
  const struct {
    const char *text, *address;
  } rows[] = {{"192.0.2.1:6443", "192.0.2.1:6443"},
              {"192.0.2.1", "192.0.2.1:6443"},
              {"https://192.0.2.1:443/", "192.0.2.1:443"},
              {"pi.duckdns.org:443", "pi.duckdns.org:443"},
              {"pi", "pi:6443"},
              {"pi.example.org.", "pi.example.org.:6443"},
              {"[2001:db8::1]:443", "[2001:db8::1]:443"},
              {"[2001:db8::1]", "[2001:db8::1]:6443"},
              {"2001:db8::1", "[2001:db8::1]:6443"},
              {"2001:DB8::1", "[2001:db8::1]:6443"},
              {" 192.0.2.1:6443 ", "192.0.2.1:6443"}};
  for (const auto& row : rows) {
    const auto address = parse_server_address(row.text);
    ASSERT_TRUE(address) << row.text << ": " << address.error().message;
    EXPECT_EQ(address->text(), row.address) << row.text;
  }
}

TEST(ServerAddress, WhatCannotBeOneNamesTheForeignPart) {
  const struct {
    const char *text, *code, *part, *fix;
  } rows[] = {{"192.168.0.10\xc2\xb2", "AddressGarbled", "U+00B2", "192.168.0.10"},  // superscript two
              {"192.168.0.10[1]:6443", "AddressGarbled", "[", "192.168.0.10"},
              {"192.168.0.10:6443*", "AddressGarbled", "6443*", "6443"},
              {"<\xeb\xa7\x88\xec\x8a\xa4\xed\x84\xb0_IP>:6443", "AddressGarbled", "U+B9C8", "HOST:PORT"},
              {"<server>:6443", "AddressGarbled", "placeholder", "own address"},
              {"http://192.0.2.1:6443", "PlainHttp", "TLS", "https://192.0.2.1:6443"},
              {"192.168.0.256:6443", "AddressGarbled", "0 to 255", "HOST:PORT"},
              {"192.168.0.010:6443", "AddressGarbled", "0 to 255", "HOST:PORT"},
              {"192.168.0.10:99999", "AddressGarbled", "port", "6443"},
              {"192.168.0.10:", "AddressGarbled", "port", "6443"},
              {"192.168.0.10:6443/api", "AddressGarbled", "path", "192.168.0.10:6443"},
              {"", "AddressGarbled", "no host", "HOST:PORT"},
              {"-x:6443", "AddressGarbled", "host name", "HOST:PORT"},
              {"a..b:6443", "AddressGarbled", "host name", "HOST:PORT"},
              {"[::1:6443", "AddressGarbled", "brackets", "HOST:PORT"},
              {"[::1]x", "AddressGarbled", "brackets", "[::1]:6443"}};
  for (const auto& row : rows) {
    const auto address = parse_server_address(row.text);
    ASSERT_FALSE(address) << row.text;
    EXPECT_EQ(address.error().reason, row.code) << row.text;
    EXPECT_NE(address.error().message.find(row.part), std::string::npos) << address.error().message;
    EXPECT_NE(address.error().remedy.find(row.fix), std::string::npos) << row.text << ": " << address.error().remedy;
  }
}

TEST(ServerAddress, OwnAddressOfAFlag) {
  EXPECT_TRUE(check_own_address("--apiserver-advertise-address", "192.168.0.10"));
  const Status footnote = check_own_address("--apiserver-advertise-address", "192.168.0.10\xc2\xb2");
  ASSERT_FALSE(footnote);
  EXPECT_EQ(footnote.error().reason, "AddressGarbled");
  EXPECT_EQ(footnote.error().remedy, "--apiserver-advertise-address 192.168.0.10");
  EXPECT_FALSE(check_own_address("--node-ip", "my-pc"));
}

TEST(ServerAddress, CopiedTextIsToldFromTyped) {
  EXPECT_TRUE(check_plain_text("--token"));
  for (const char* argument : {"\xe2\x80\x93token", "\xe2\x80\x9cx\xe2\x80\x9d", "\xc2\xa0", "\xff"}) {
    const Status told = check_plain_text(argument);
    ASSERT_FALSE(told);
    EXPECT_EQ(told.error().reason, "GarbledArgument");
  }
}

}  // namespace
}  // namespace dure::bootstrap
