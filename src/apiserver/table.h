// Tables: the rows that kubectl get prints, computed by the server from each kind's columns.
#pragma once

#include <string>
#include <string_view>

#include "apiserver/catalog.h"
#include "base/time.h"
#include "schema/document.h"

namespace dure::apiserver {

// "columnDefinitions":[...] without the name.
std::string column_definitions(const schema::Resource& resource);
// "cells":[...] without the name.
std::string table_cells(const schema::Resource& resource, const schema::Document& object, WallTime now);

}  // namespace dure::apiserver
