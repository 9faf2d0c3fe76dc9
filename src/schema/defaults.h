// Defaults: what an object means by what it leaves out.
#pragma once

#include "schema/document.h"

namespace dure::schema {

// Fills in the defaults of the rows, in one pass from the root down: for each object first defaults
// that ask for something to be absent, then plain ones, then those that ask for a value, then its
// default hook, then what is below. Idempotent.
void apply_defaults(Document& document);
// The same for a part of a document; `node` stands for an object of that type.
void apply_defaults(Document& document, Node* node, const Type& type);

}  // namespace dure::schema
