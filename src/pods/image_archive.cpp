#include "pods/image_archive.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "os/proc.h"

namespace dure::pods {

namespace {

constexpr size_t block = 512;

std::string sha256_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr);
  return hex_encode({reinterpret_cast<const char*>(digest), size});
}

// POSIX ustar (IEEE Std 1003.1-1990), with no owner and no time, so that equal contents are equal bytes.
class Tar {
 public:
  void folder(const std::string& path) { entry(path + "/", "", 0755, '5', ""); }
  void file(const std::string& path, std::string_view bytes, int mode) { entry(path, bytes, mode, '0', ""); }
  void link(const std::string& path, const std::string& target) { entry(path, "", 0777, '2', target); }
  std::string finish() && {
    out_.append(2 * block, '\0');
    return std::move(out_);
  }

 private:
  static void put(std::string& header, size_t at, std::string_view text) { header.replace(at, text.size(), text); }

  void entry(const std::string& path, std::string_view bytes, int mode, char type, const std::string& target) {
    std::string header(block, '\0');
    put(header, 0, std::string_view(path).substr(0, 100));
    put(header, 100, fmt::format("{:07o}", mode));
    put(header, 108, "0000000");
    put(header, 116, "0000000");
    put(header, 124, fmt::format("{:011o}", bytes.size()));
    put(header, 136, "00000000000");
    put(header, 148, "        ");
    header[156] = type;
    put(header, 157, std::string_view(target).substr(0, 100));
    put(header, 257,
        std::string_view("ustar\0"
                         "00",
                         8));
    unsigned sum = 0;
    for (unsigned char c : header) sum += c;
    put(header, 148, fmt::format("{:06o}", sum));
    header[154] = '\0';
    header[155] = ' ';
    out_ += header;
    out_.append(bytes);
    out_.append((block - bytes.size() % block) % block, '\0');
  }

  std::string out_;
};

void add_folders(Tar& tar, std::set<std::string>& made, const std::string& path) {
  for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
    if (made.insert(path.substr(0, slash)).second) tar.folder(path.substr(0, slash));
}

std::string layer_of(const ImageRecipe& recipe) {
  Tar tar;
  std::set<std::string> made;
  for (const ImageFile& file : recipe.files) {
    add_folders(tar, made, file.path);
    if (file.link_target.empty())
      tar.file(file.path, file.bytes, file.mode);
    else
      tar.link(file.path, file.link_target);
  }
  return std::move(tar).finish();
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) out += (out.size() > 1 ? "," : "") + quoted(item);
  return out + "]";
}

std::string config_of(const ImageRecipe& recipe, const std::string& layer_digest, const std::string& architecture) {
  std::string config = fmt::format("\"Env\":{}", list(recipe.environment));
  if (!recipe.entrypoint.empty()) config += fmt::format(",\"Entrypoint\":{}", list(recipe.entrypoint));
  if (!recipe.command.empty()) config += fmt::format(",\"Cmd\":{}", list(recipe.command));
  if (!recipe.user.empty()) config += fmt::format(",\"User\":{}", quoted(recipe.user));
  if (!recipe.working_directory.empty()) config += fmt::format(",\"WorkingDir\":{}", quoted(recipe.working_directory));
  return fmt::format(
      "{{\"created\":\"1970-01-01T00:00:00Z\",\"architecture\":\"{}\",\"os\":\"linux\",\"config\":{{{}}},"
      "\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{}\"]}},\"history\":[{{\"created_by\":\"dure\"}}]}}",
      architecture, config, layer_digest);
}

}  // namespace

std::string this_architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#else
  return "unknown";
#endif
}

std::string image_archive(const ImageRecipe& recipe) {
  const std::string architecture = recipe.architecture.empty() ? this_architecture() : recipe.architecture;
  const std::string layer = layer_of(recipe);
  const std::string layer_digest = sha256_hex(layer);
  const std::string config = config_of(recipe, layer_digest, architecture);
  const std::string config_digest = sha256_hex(config);
  const std::string manifest = fmt::format(
      "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
      "\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:{}\",\"size\":{}}},"
      "\"layers\":[{{\"mediaType\":\"application/"
      "vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:{}\",\"size\":{}}}]}}",
      config_digest, config.size(), layer_digest, layer.size());
  const std::string manifest_digest = sha256_hex(manifest);
  const size_t colon = recipe.name.rfind(':');
  const std::string index = fmt::format(
      "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{{"
      "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:{}\",\"size\":{},"
      "\"annotations\":{{\"io.containerd.image.name\":{},\"org.opencontainers.image.ref.name\":{}}},"
      "\"platform\":{{\"architecture\":\"{}\",\"os\":\"linux\"}}}}]}}",
      manifest_digest, manifest.size(), quoted(recipe.name), quoted(recipe.name.substr(colon + 1)), architecture);
  Tar tar;
  tar.folder("blobs");
  tar.folder("blobs/sha256");
  std::map<std::string, const std::string*> blobs{
      {layer_digest, &layer}, {config_digest, &config}, {manifest_digest, &manifest}};
  for (const auto& [digest, bytes] : blobs) tar.file("blobs/sha256/" + digest, *bytes, 0644);
  tar.file("index.json", index, 0644);
  tar.file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 0644);
  return std::move(tar).finish();
}

std::string pause_image_archive() {
  ImageRecipe recipe;
  recipe.name = std::string(pause_image_name);
  recipe.files.push_back({"pause", std::string(pause_program()), 0755});
  recipe.entrypoint = {"/pause"};
  recipe.user = "65535:65535";
  return image_archive(recipe);
}

std::string witness_image_archive() {
  ImageRecipe recipe;
  recipe.name = std::string(witness_image_name);
  recipe.files.push_back({"witness", std::string(witness_program()), 0755});
  recipe.entrypoint = {"/witness"};
  return image_archive(recipe);
}

Status import_image(const std::string& endpoint, std::string_view archive, Duration timeout) {
  os::ProcessSpec spec;
  const std::string address = endpoint.starts_with("unix://") ? endpoint.substr(7) : endpoint;
  spec.argv = {"ctr", "--address", address, "--namespace", "k8s.io", "images", "import", "-"};
  DURE_TRY(os::Output output, os::run_command(std::move(spec), archive, timeout));
  if (output.exit.ok()) return {};
  return fail(Error{500, "ImageImportFailed", fmt::format("ctr images import: {}", trim(output.err)), "ctr version"});
}

}  // namespace dure::pods
