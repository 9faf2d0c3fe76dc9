// Text rules: the shapes that names, keys and values must have, with upstream's sentences.
//
// Each answers "" when the text is fine, otherwise what is wrong with it.
#pragma once

#include <string>
#include <string_view>

#include "schema/rows.h"

namespace dure::schema {

std::string check_dns1123_label(std::string_view text);
std::string check_dns1123_subdomain(std::string_view text);
std::string check_dns1035_label(std::string_view text);
std::string check_qualified_name(
    std::string_view text);  // [prefix/]name: label and annotation keys, resource names, conditions
std::string check_label_value(std::string_view text);
std::string check_env_name(std::string_view text);
std::string check_port_name(std::string_view text);
std::string check_ip(std::string_view text);
std::string check_cidr(std::string_view text);
std::string check_config_key(std::string_view text);
std::string check_http_header(std::string_view text);
std::string check_path_segment(std::string_view text);
std::string check_absolute_path(std::string_view text);

std::string check_format(Format format, std::string_view text);  // formats of single texts

// A name that may end in a dash because five characters will be added to it (generateName).
std::string check_name_prefix(Format format, std::string_view text);

}  // namespace dure::schema
