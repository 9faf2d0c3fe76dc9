// Text: splitting, joining, encodings that several protocols need. No locale anywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dure {

std::vector<std::string_view> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);
std::string lower(std::string_view text);
bool equal_ignore_case(std::string_view a, std::string_view b);
std::optional<int64_t> parse_int(std::string_view text);  // whole text, decimal, optional sign

std::string base64_encode(std::string_view bytes);         // RFC 4648 section 4, padded
Result<std::string> base64_decode(std::string_view text);  // strict
std::string base64url_encode(std::string_view bytes);      // RFC 4648 section 5, unpadded
Result<std::string> base64url_decode(std::string_view text);
std::string hex_encode(std::string_view bytes);

std::string percent_decode(std::string_view text, bool plus_is_space = false);
std::string percent_encode(std::string_view text);  // everything but unreserved (RFC 3986)

uint64_t fnv1a_64(std::string_view bytes);
uint32_t fnv1a_32(std::string_view bytes);

}  // namespace dure
