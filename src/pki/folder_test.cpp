#include "pki/folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/clock.h"
#include "os/disk.h"
#include "pki/kubeconfig.h"

namespace dure::pki {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const WallTime now = *parse_time("2026-03-01T00:00:00Z");
constexpr Duration day = 24h;

class FolderTest : public testing::Test {
 protected:
  std::vector<std::string> ensure(WallTime at) {
    auto changed = folder.ensure(options, at);
    EXPECT_TRUE(changed) << changed.error().message;
    return changed ? *changed : std::vector<std::string>{};
  }
  Certificate certificate(const char* file) { return *Certificate::from_pem(*folder.read(file)); }

  os::MemoryDisk disk;
  std::unique_ptr<os::Random> random = os::make_seeded_random(9);
  Folder folder{disk, *random, "/etc/kubernetes"};
  FolderOptions options{.node_name = "n1",
                        .server_url = "https://10.0.0.1:6443",
                        .extra_names = {"10.0.0.1", "home.example.org"}};
};

TEST_F(FolderTest, MakesWhatKubeadmMakes) {
  EXPECT_EQ(ensure(now).size(), 16u);
  for (const char* file :
       {"pki/ca.crt", "pki/ca.key", "pki/front-proxy-ca.crt", "pki/sa.key", "pki/sa.pub",
        "pki/apiserver.crt", "pki/apiserver.key", "pki/apiserver-kubelet-client.crt",
        "pki/front-proxy-client.crt", "admin.conf", "super-admin.conf", "controller-manager.conf",
        "scheduler.conf"})
    EXPECT_TRUE(folder.read(file)) << file;
  const AlternativeNames names = certificate("pki/apiserver.crt").names();
  EXPECT_THAT(
      names.dns_names,
      ElementsAre("kubernetes", "kubernetes.default", "kubernetes.default.svc",
                  "kubernetes.default.svc.cluster.local", "n1", "localhost", "home.example.org"));
  EXPECT_THAT(names.ips, ElementsAre("10.96.0.1", "127.0.0.1", "::1", "10.0.0.1"));
  EXPECT_THAT(ensure(now + day), IsEmpty());
}

TEST_F(FolderTest, KubeconfigsNameTheirUsers) {
  ensure(now);
  const Certificate admin = *embedded_certificate(*folder.read("admin.conf"));
  EXPECT_EQ(admin.subject(), (Subject{"kubernetes-admin", {"kubeadm:cluster-admins"}}));
  EXPECT_TRUE(admin.usages().client_auth);
  EXPECT_EQ(embedded_certificate(*folder.read("super-admin.conf"))->subject().organizations.at(0),
            "system:masters");
  EXPECT_EQ(embedded_certificate(*folder.read("scheduler.conf"))->subject().common_name,
            "system:kube-scheduler");
  EXPECT_THAT(*folder.read("admin.conf"),
              HasSubstr("current-context: kubernetes-admin@kubernetes\n"));
  EXPECT_EQ(server_of(*folder.read("admin.conf")), "https://10.0.0.1:6443");
}

TEST_F(FolderTest, RenewsWhatEndsWithin30Days) {
  ensure(now);
  EXPECT_THAT(ensure(now + 300 * day), IsEmpty());
  const std::string ca = *folder.read("pki/ca.crt");
  EXPECT_EQ(ensure(now + 340 * day).size(), 10u);  // three pairs, four kubeconfigs
  EXPECT_EQ(*folder.read("pki/ca.crt"), ca);
  EXPECT_EQ(certificate("pki/apiserver.crt").not_after(), now + 705 * day);
}

TEST_F(FolderTest, NewNamesMakeANewServerCertificate) {
  ensure(now);
  options.extra_names.push_back("192.168.7.7");
  EXPECT_THAT(ensure(now), ElementsAre("pki/apiserver.key", "pki/apiserver.crt"));
  options.server_url = "https://home.example.org:6443";
  EXPECT_THAT(ensure(now), ElementsAre("admin.conf", "controller-manager.conf", "scheduler.conf",
                                       "super-admin.conf"));
}

TEST_F(FolderTest, RepairsAKeyThatDoesNotFit) {
  ensure(now);
  ASSERT_TRUE(os::write_file_atomic(disk, "/etc/kubernetes/pki/apiserver.key",
                                    PrivateKey::generate()->pem()));
  EXPECT_THAT(ensure(now), ElementsAre("pki/apiserver.key", "pki/apiserver.crt"));
}

TEST_F(FolderTest, AnAuthorityManagedElsewhereIsEnoughUntilALeafEnds) {
  ensure(now);
  ASSERT_TRUE(disk.remove("/etc/kubernetes/pki/ca.key"));
  EXPECT_THAT(ensure(now), IsEmpty());
  const auto later = folder.ensure(options, now + 350 * day);
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().reason, "PkiIncomplete");
  EXPECT_THAT(later.error().message, HasSubstr("the key of \"ca\" is not here"));
}

TEST_F(FolderTest, TakesOverAnAuthoritysKeyThatACrashLeftAlone) {
  ensure(now);
  const std::string pin = certificate("pki/ca.crt").public_key().pin();
  ASSERT_TRUE(disk.remove("/etc/kubernetes/pki/ca.crt"));
  EXPECT_THAT(ensure(now), Contains("pki/ca.crt"));
  EXPECT_EQ(certificate("pki/ca.crt").public_key().pin(), pin);
}

TEST_F(FolderTest, SurvivesACrashAnywhere) {
  for (int stop = 1; stop < 60; ++stop) {
    os::MemoryDisk fresh(static_cast<uint64_t>(stop));
    int left = stop;
    fresh.set_fault([&](os::MemoryDisk::Operation, const std::string&) -> std::optional<Error> {
      return left-- > 0 ? std::nullopt : std::optional(internal("power is gone"));
    });
    Folder broken{fresh, *random, "/k"};
    (void)broken.ensure(options, now);
    fresh.set_fault({});
    fresh.crash();
    const auto again = broken.ensure(options, now);
    ASSERT_TRUE(again) << stop << ": " << again.error().message;
    EXPECT_TRUE(broken.ensure(options, now)->empty()) << stop;
  }
}

TEST_F(FolderTest, RenewByName) {
  ensure(now);
  EXPECT_THAT(*folder.renew(options, "admin.conf", now + day), ElementsAre("admin.conf"));
  EXPECT_EQ(folder.renew(options, "", now + day)->size(), 10u);
  EXPECT_FALSE(folder.renew(options, "nonsense", now));
}

TEST_F(FolderTest, ExpirationTableIsKubeadms) {
  ensure(now);
  EXPECT_EQ(
      expiration_table(*folder.check_expiration(), now + 1 * day),
      "CERTIFICATE                EXPIRES                  RESIDUAL TIME     CERTIFICATE AUTHORITY "
      "  EXTERNALLY MANAGED\n"
      "admin.conf                 Mar 01, 2027 00:00 UTC   364d              ca                    "
      "  no\n"
      "apiserver                  Mar 01, 2027 00:00 UTC   364d              ca                    "
      "  no\n"
      "apiserver-kubelet-client   Mar 01, 2027 00:00 UTC   364d              ca                    "
      "  no\n"
      "controller-manager.conf    Mar 01, 2027 00:00 UTC   364d              ca                    "
      "  no\n"
      "front-proxy-client         Mar 01, 2027 00:00 UTC   364d              front-proxy-ca        "
      "  no\n"
      "scheduler.conf             Mar 01, 2027 00:00 UTC   364d              ca                    "
      "  no\n"
      "super-admin.conf           Mar 01, 2027 00:00 UTC   364d              ca                    "
      "  no\n"
      "\n"
      "CERTIFICATE AUTHORITY   EXPIRES                  RESIDUAL TIME     EXTERNALLY MANAGED\n"
      "ca                      Feb 27, 2036 00:00 UTC   9y                no\n"
      "front-proxy-ca          Feb 27, 2036 00:00 UTC   9y                no\n");
}

TEST(Kubeconfig, TextOfAUserWithCertificate) {
  EXPECT_EQ(kubeconfig_text({.server = "https://[fd00::1]:6443",
                             .ca_pem = "CA",
                             .user_name = "me",
                             .namespace_ = "dev",
                             .certificate_pem = "C",
                             .key_pem = "K"}),
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: Q0E=\n    "
            "server: \"https://[fd00::1]:6443\"\n"
            "  name: kubernetes\ncontexts:\n- context:\n    cluster: kubernetes\n    namespace: "
            "dev\n    user: me\n"
            "  name: me@kubernetes\ncurrent-context: me@kubernetes\nkind: Config\npreferences: "
            "{}\nusers:\n- name: me\n  user:\n"
            "    client-certificate-data: Qw==\n    client-key-data: Sw==\n");
}

TEST(Kubeconfig, ClusterInfoHasNoUser) {
  EXPECT_EQ(cluster_info_text("https://10.0.0.1:6443", "CA"),
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: Q0E=\n    "
            "server: https://10.0.0.1:6443\n"
            "  name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: "
            "{}\nusers: null\n");
}

TEST(Kubeconfig, OddNamesAreQuoted) {
  const std::string text = kubeconfig_text(
      {.cluster_name = "true", .server = "https://h:1", .ca_pem = "", .user_name = "a: b\"c"});
  EXPECT_THAT(text, HasSubstr("  name: \"true\"\n"));
  EXPECT_THAT(text, HasSubstr("- name: \"a: b\\\"c\"\n"));
}

}  // namespace
}  // namespace dure::pki
