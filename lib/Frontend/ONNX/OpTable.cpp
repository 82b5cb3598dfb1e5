//===- OpTable.cpp - operators that effc knows ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpTable.h"

#include "llvm/ADT/SmallVector.h"

using namespace llvm;
using namespace effc::onnx;

static constexpr OpSchema table[] = {
#define ONNX_OP(domain, name, minIn, maxIn, minOut, maxOut, attributes)        \
  {domain, #name, minIn, maxIn, minOut, maxOut, attributes},
#include "OpTable.def"
};

char OpSchema::attributeKind(StringRef attribute) const {
  SmallVector<StringRef> entries;
  attributes.split(entries, ' ', -1, false);
  for (StringRef entry : entries) {
    auto [name, kind] = entry.split(':');
    if (name == attribute)
      return kind.front();
  }
  return 0;
}

const OpSchema *effc::onnx::findOp(StringRef domain, StringRef name) {
  if (domain == "ai.onnx")
    domain = "";
  bool own = domain == "ai.effc";
  for (const OpSchema &schema : table)
    if (schema.domain == domain &&
        (schema.name == name || (own && name.starts_with(schema.name))))
      return &schema;
  return nullptr;
}
