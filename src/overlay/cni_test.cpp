#include "overlay/cni.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "overlay/host_ports.h"
#include "overlay/ipam.h"
#include "overlay/node_fixture.h"

namespace dure::overlay {
namespace {

using kernel::ask;
using kernel::output_in;
using kernel::ProbeServer;
using kernel::run_in;
using testing::HasSubstr;

TEST(AddressPool, HandsOutInOrderAndReusesLast) {
  os::MemoryDisk disk;
  AddressPool pool(disk, "/run/cni/dure", *IpPrefix::parse("10.244.1.0/29"));
  EXPECT_EQ(pool.gateway().text(), "10.244.1.1");
  EXPECT_EQ(must(pool.take({"a", "eth0"})).text(), "10.244.1.2");
  EXPECT_EQ(must(pool.take({"a", "eth0"})).text(), "10.244.1.2") << "the same attachment again";
  EXPECT_EQ(must(pool.take({"a", "net1"})).text(), "10.244.1.3");
  EXPECT_EQ(must(pool.release({"a", "eth0"})).size(), 1u);
  EXPECT_EQ(must(pool.take({"b", "eth0"})).text(), "10.244.1.4") << "a freed address rests until the others were used";
  must(pool.take({"c", "eth0"}));
  must(pool.take({"d", "eth0"}));
  EXPECT_EQ(must(pool.take({"e", "eth0"})).text(), "10.244.1.2");
  auto full = pool.take({"f", "eth0"});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().reason, "PodAddressesExhausted");
  EXPECT_TRUE(must(pool.release({"nobody", "eth0"})).empty());
  AddressPool again(disk, "/run/cni/dure", *IpPrefix::parse("10.244.1.0/29"));
  EXPECT_EQ(must(again.find({"b", "eth0"}))->text(), "10.244.1.4") << "files are the memory";
}

TEST(AddressPool, GivesTheWantedAddressWhenItIsFree) {
  os::MemoryDisk disk;
  AddressPool pool(disk, "/run/cni/dure", *IpPrefix::parse("10.244.1.0/28"));
  EXPECT_EQ(must(pool.take({"a", "eth0"}, Ip::parse("10.244.1.5"))).text(), "10.244.1.5");
  EXPECT_EQ(must(pool.take({"b", "eth0"}, Ip::parse("10.244.1.5"))).text(), "10.244.1.6") << "it is taken";
  for (const char* never : {"10.244.1.0", "10.244.1.1", "10.244.1.15", "10.244.2.5", "fd00::5"})
    EXPECT_NE(must(pool.take({never, "eth0"}, Ip::parse(never))).text(), never);
}

class CniTest : public testing::Test {
 protected:
  void SetUp() override {
    DURE_NEEDS_NAMESPACES();
    lan_.emplace();
    node_.emplace(*lan_, "a", "192.168.0.1", "10.244.1.0/24");
    must(node_->sysctl->set("net/ipv4/ip_forward", "1"));
  }
  std::optional<Lan> lan_;
  std::optional<TestNode> node_;
};

TEST_F(CniTest, TheResultIsWhatTheSpecificationWants) {
  TestPod pod("c1");
  auto answer = node_->cni("ADD", pod);
  ASSERT_EQ(answer.code, 0) << answer.text;
  std::string bridge = must(node_->links->get("cni0")).mac.text();
  std::string host_name = host_interface_name("c1", "eth0");
  std::string host = must(node_->links->get(host_name)).mac.text();
  std::string expected = R"({"cniVersion":"1.0.0","interfaces":[{"name":"cni0","mac":")" + bridge + R"("},{"name":")" +
                         host_name + R"(","mac":")" + host +
                         R"("},{"name":"eth0","mac":"0a:58:0a:f4:01:02","sandbox":")" + pod.path() +
                         R"("}],"ips":[{"interface":2,"address":"10.244.1.2/24","gateway":"10.244.1.1"}],)" +
                         R"("routes":[{"dst":"0.0.0.0/0","gw":"10.244.1.1"}],"dns":{}})";
  schema::Document want = must(schema::decode_json(SharedBytes(expected)));
  schema::Document got = answer.json();
  EXPECT_TRUE(schema::equal(got.root(), want.root())) << answer.text << expected;
  EXPECT_EQ(must(must(kernel::open_links(&pod.ns))->get("eth0")).mtu, 1450);

  TestPod old("c2");
  EXPECT_THAT(node_->cni("ADD", old, "", "0.3.1").text, HasSubstr("\"version\": \"4\""));
}

TEST_F(CniTest, PodsReachEachOtherTheNodeAndThemselves) {
  for (const char* bridge_rules : {"1", "0"}) {
    (void)node_->sysctl->set("net/bridge/bridge-nf-call-iptables", bridge_rules);
    auto one = node_->add_pod(std::string("one") + bridge_rules),
         two = node_->add_pod(std::string("two") + bridge_rules);
    ProbeServer server(two->ns, "two", 8080), own(one->ns, "one", 8080), on_node(node_->ns, "node", 9090);
    EXPECT_EQ(ask(one->ns, two->ip, 8080), "two " + one->ip);
    EXPECT_EQ(ask(one->ns, one->ip, 8080), "one " + one->ip);
    EXPECT_EQ(ask(one->ns, "10.244.1.1", 9090), "node " + one->ip);
    EXPECT_EQ(ask(node_->ns, two->ip, 8080), "two 10.244.1.1");
    EXPECT_EQ(ask(one->ns, "127.0.0.1", 8080), "one 127.0.0.1") << "lo is up";
  }
}

TEST_F(CniTest, DelIsIdempotentAndFreesEverything) {
  auto pod = node_->add_pod(
      "c1", R"("runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]})");
  EXPECT_EQ(must(HostPorts(*node_->nft).of(*Ip::parse(pod->ip))).size(), 1u);
  EXPECT_EQ(node_->cni("DEL", *pod).code, 0);
  EXPECT_EQ(node_->cni("DEL", *pod).code, 0);
  EXPECT_EQ(node_->links->get(host_interface_name("c1", "eth0")).error().reason, "NotFound");
  EXPECT_TRUE(must(HostPorts(*node_->nft).of(*Ip::parse(pod->ip))).empty());
  AddressPool pool(*node_->disk, "/run/dure/cni/dure", *IpPrefix::parse("10.244.1.0/24"));
  EXPECT_TRUE(must(pool.list()).empty());
  // The namespace may be gone before DEL comes.
  auto gone = node_->add_pod("c2");
  TestPod ghost("c2");
  gone.reset();
  EXPECT_EQ(node_->cni("DEL", ghost).code, 0);
  EXPECT_TRUE(must(pool.list()).empty());
}

TEST_F(CniTest, AddAgainAfterACrashIsTheSamePod) {
  auto pod = node_->add_pod("c1");
  auto again = node_->cni("ADD", *pod);
  EXPECT_EQ(again.code, 0) << again.text;
  EXPECT_THAT(again.text, HasSubstr(pod->ip));
}

TEST_F(CniTest, PodsKeepTheirAddressesOverAReboot) {
  must(node_->disk->make_directories("/pods/uid-one"));
  must(node_->disk->make_directories("/pods/uid-two"));
  const std::string one = node_->add_pod("one")->ip, two = node_->add_pod("two")->ip;
  // A reboot: what was under /run is gone, pods come back in another order.
  TestPod before("one");
  EXPECT_EQ(node_->cni("DEL", before).code, 0);
  EXPECT_EQ(node_->cni("DEL", TestPod("two")).code, 0);
  const std::string run = "/run/dure/cni/dure";
  for (const std::string& name : must(node_->disk->list(run))) must(node_->disk->remove(run + "/" + name));
  EXPECT_EQ(node_->add_pod("two")->ip, two);
  EXPECT_EQ(node_->add_pod("one")->ip, one);
  EXPECT_NE(node_->add_pod("stranger")->ip, one);
  EXPECT_FALSE(node_->disk->exists("/pods/uid-stranger")) << "a pod's folder is not the plugin's to make";
}

TEST_F(CniTest, HostPortsLeadToThePodFromOutsideFromPodsAndFromItself) {
  auto pod =
      node_->add_pod("web", R"("runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},
      {"hostPort":8053,"containerPort":53,"protocol":"udp","hostIP":"192.168.0.1"}]})");
  auto other = node_->add_pod("other");
  ProbeServer web(pod->ns, "web", 80), dns(pod->ns, "dns", 53);
  EXPECT_EQ(ask(lan_->ns, "192.168.0.1", 8080), "web 192.168.0.254");
  EXPECT_EQ(kernel::ask_udp(lan_->ns, "192.168.0.1", 8053), "dns 192.168.0.254");
  EXPECT_EQ(ask(other->ns, "192.168.0.1", 8080), "web " + other->ip);
  EXPECT_EQ(ask(node_->ns, "192.168.0.1", 8080).substr(0, 3), "web");
  EXPECT_EQ(ask(pod->ns, "192.168.0.1", 8080), "web 10.244.1.1") << "to itself: by another source";
  TestPod third("third");
  auto refused = node_->cni("ADD", third, R"("runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]})");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.text, HasSubstr("belongs to another pod"));
  EXPECT_EQ(node_->links->get(host_interface_name("third", "eth0")).error().reason, "NotFound") << "nothing is left";
}

TEST_F(CniTest, CheckTellsWhatIsMissing) {
  auto pod = node_->add_pod("c1");
  std::string previous = R"("prevResult":{"ips":[{"address":")" + pod->ip + R"(/24"}]})";
  EXPECT_EQ(node_->cni("CHECK", *pod, previous).code, 0);
  EXPECT_THAT(node_->cni("CHECK", *pod).text, HasSubstr("prevResult"));
  run_in(pod->ns, "ip route del default");
  auto broken = node_->cni("CHECK", *pod, previous);
  EXPECT_EQ(broken.code, 1);
  EXPECT_THAT(broken.text, HasSubstr("default route"));
}

TEST_F(CniTest, GarbageIsWhatNobodyNames) {
  auto kept = node_->add_pod("kept"), lost = node_->add_pod("lost");
  auto answer =
      node_->cni("GC", *kept, R"("cni.dev/valid-attachments":[{"containerID":"kept","ifname":"eth0"}])", "1.1.0");
  EXPECT_EQ(answer.code, 0) << answer.text;
  EXPECT_TRUE(node_->links->get(host_interface_name("kept", "eth0")));
  EXPECT_FALSE(node_->links->get(host_interface_name("lost", "eth0")));
}

TEST_F(CniTest, ErrorsCarryTheSpecificationsCodes) {
  TestPod pod("c1"), bad("-bad");
  EXPECT_THAT(node_->cni("ADD", pod, "", "9.9.9").text, HasSubstr("\"code\": 1,"));
  EXPECT_THAT(node_->cni("ADD", bad).text, HasSubstr("\"code\": 4,"));
  EXPECT_THAT(node_->cni("NONSENSE", pod).text, HasSubstr("\"code\": 4,"));
  node_->cidr = "not a subnet";
  EXPECT_THAT(node_->cni("ADD", pod).text, HasSubstr("\"code\": 7,"));
  EXPECT_THAT(node_->cni("STATUS", pod, "", "1.1.0").text, HasSubstr("\"code\": 50,"));
  std::istringstream in("{");
  std::ostringstream out;
  CniWorld world{*node_->links, *node_->nft, *node_->disk};
  EXPECT_EQ(cni_main(world, {{"CNI_COMMAND", "ADD"}}, in, out), 1);
  EXPECT_THAT(out.str(), HasSubstr("\"code\": 6,"));
}

TEST_F(CniTest, VersionAndLoopback) {
  TestPod pod("c1");
  EXPECT_THAT(node_->cni("VERSION", pod).text, HasSubstr("supportedVersions"));
  std::istringstream in(R"({"cniVersion":"0.3.1","name":"cni-loopback","type":"loopback"})");
  std::ostringstream out;
  CniWorld world{*node_->links, *node_->nft, *node_->disk};
  int code = cni_main(
      world, {{"CNI_COMMAND", "ADD"}, {"CNI_CONTAINERID", "c1"}, {"CNI_NETNS", pod.path()}, {"CNI_IFNAME", "lo"}}, in,
      out);
  EXPECT_EQ(code, 0) << out.str();
  EXPECT_TRUE(must(must(kernel::open_links(&pod.ns))->get("lo")).up);
}

TEST(CniConflist, IsTheFileTheRuntimeReads) {
  EXPECT_EQ(cni_conflist({.subnet = *IpPrefix::parse("10.244.7.0/24"), .mtu = 1450}), R"({
  "cniVersion": "1.0.0",
  "name": "dure",
  "plugins": [
    {
      "type": "dure-cni",
      "bridge": "cni0",
      "mtu": 1450,
      "hairpinMode": true,
      "capabilities": {"portMappings": true},
      "ipam": {"type": "dure-cni", "subnet": "10.244.7.0/24", "dataDir": "/run/dure/cni", "podsFolder": "/var/lib/kubelet/pods"}
    }
  ]
}
)");
}

}  // namespace
}  // namespace dure::overlay
