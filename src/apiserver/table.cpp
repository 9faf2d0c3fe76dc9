#include "apiserver/table.h"

#include "kinds/hooks/columns.h"
#include "schema/table.h"

namespace dure::apiserver {

std::string column_definitions(const schema::Resource& resource) {
  std::string out;
  schema::append_column_definitions(resource, out);
  return out;
}

std::string table_cells(const schema::Resource& resource, const schema::Document& object, WallTime now) {
  std::string out;
  schema::append_cells(resource, object.root(), now, kinds::compute_cell, out);
  return out;
}

}  // namespace dure::apiserver
