// Patches: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396) and strategic merge patch (Kubernetes API concepts,
// "strategic merge patch"): lists of maps are merged by the rows' patch merge key, `$patch`, `$retainKeys`,
// `$deleteFromPrimitiveList/` and
// `$setElementOrder/` are obeyed.
//
// Each takes the current object and the text of the patch and answers an untyped result; the caller brings it back into
// its type with `retype`, where unknown fields and wrong types are found. Errors: "BadRequest" (400) for a text that is
// no patch, "Invalid" (422) for one that does not apply. Cost: linear in object and patch, lists quadratic in the items
// that are merged.
#pragma once

#include <string_view>

#include "base/result.h"
#include "schema/document.h"
#include "schema/rows.h"

namespace dure::schema {

Result<Document> apply_json_patch(const Document& current, std::string_view patch);
Result<Document> apply_merge_patch(const Document& current, std::string_view patch);
Result<Document> apply_strategic_patch(const Document& current, const Type& type, std::string_view patch);

}  // namespace dure::schema
