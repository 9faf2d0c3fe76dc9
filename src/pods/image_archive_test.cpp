#include "pods/image_archive.h"

#include <gtest/gtest.h>

#include <map>

#include "pods/node_facts.h"
#include "schema/json.h"

namespace dure::pods {
namespace {

std::map<std::string, std::string> untar(std::string_view tar) {
  std::map<std::string, std::string> out;
  for (size_t at = 0; at + 512 <= tar.size() && tar[at] != 0;) {
    const std::string name(tar.substr(at, 100).data());
    const size_t size = std::stoul(std::string(tar.substr(at + 124, 11)), nullptr, 8);
    unsigned sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(tar[at + i]);
    EXPECT_EQ(std::stoul(std::string(tar.substr(at + 148, 6)), nullptr, 8), sum) << name;
    out[name] = tar.substr(at + 512, size);
    at += 512 + (size + 511) / 512 * 512;
  }
  return out;
}

TEST(ImageArchive, IsAnOciLayoutWhoseDigestsFit) {
  const std::string archive = image_archive({.name = "localhost/x:1", .files = {{"bin/a", "program", 0755}, {"bin/b", "", 0755, "a"}}, .command = {"/bin/a"}});
  auto files = untar(archive);
  ASSERT_TRUE(files.contains("index.json"));
  EXPECT_EQ(files["oci-layout"], R"({"imageLayoutVersion":"1.0.0"})");
  auto index = schema::decode_json(SharedBytes(files["index.json"]));
  ASSERT_TRUE(index);
  const schema::Node* entry = index->root()->find("manifests")->first();
  EXPECT_EQ(entry->find("annotations", "io.containerd.image.name")->string(), "localhost/x:1");
  const std::string digest(entry->find("digest")->string().substr(7));
  auto manifest = schema::decode_json(SharedBytes(files["blobs/sha256/" + digest]));
  ASSERT_TRUE(manifest);
  const schema::Node* layer = manifest->root()->find("layers")->first();
  const std::string layer_bytes = files["blobs/sha256/" + std::string(layer->find("digest")->string().substr(7))];
  EXPECT_EQ(static_cast<int64_t>(layer_bytes.size()), layer->find("size")->integer());
  auto inner = untar(layer_bytes);
  EXPECT_EQ(inner["bin/a"], "program");
  EXPECT_TRUE(inner.contains("bin/"));
  EXPECT_EQ(archive, image_archive({.name = "localhost/x:1", .files = {{"bin/a", "program", 0755}, {"bin/b", "", 0755, "a"}}, .command = {"/bin/a"}}))
      << "the same input gives the same bytes";
}

TEST(ImageArchive, ThePauseProgramIsAFewKilobytes) {
  EXPECT_EQ(pause_program().substr(0, 4), "\x7f" "ELF");
  EXPECT_LT(pause_program().size(), 8192u);
  EXPECT_FALSE(pause_image_archive().empty());
}

TEST(NodeFacts, ReadsTheKernelsFiles) {
  EXPECT_EQ(meminfo_value("MemTotal:       24682 kB\nMemAvailable:   12 kB\n", "MemAvailable"), 12288);
  EXPECT_EQ(meminfo_value("", "MemTotal"), 0);
  EXPECT_EQ(release_value("NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n", "PRETTY_NAME"), "Debian GNU/Linux 12 (bookworm)");
  EXPECT_EQ(release_value("ID=debian\n", "ID"), "debian");
  EXPECT_EQ(count_cpus("processor\t: 0\nx\nprocessor\t: 1\n"), 2);
}

}  // namespace
}  // namespace dure::pods
