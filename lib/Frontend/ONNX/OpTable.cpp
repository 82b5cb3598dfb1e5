//===- OpTable.cpp - operators that effc knows ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpTable.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"

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

using Index = StringMap<const OpSchema *>;

/// The known names of one domain.
static const Index &indexOf(StringRef domain) {
  auto build = [](StringRef wanted) {
    Index index;
    for (const OpSchema &schema : table)
      if (schema.domain == wanted)
        index[schema.name] = &schema;
    return index;
  };
  static const Index standard = build(""), microsoft = build("com.microsoft"),
                     own = build("ai.effc"), none;
  return domain.empty()              ? standard
         : domain == "com.microsoft" ? microsoft
         : domain == "ai.effc"       ? own
                                     : none;
}

const OpSchema *effc::onnx::findOp(StringRef domain, StringRef name) {
  if (domain == "ai.onnx")
    domain = "";
  const Index &index = indexOf(domain);
  if (const OpSchema *schema = index.lookup(name))
    return schema;
  if (domain == "ai.effc")
    for (const OpSchema &schema : table)
      if (schema.domain == domain && name.starts_with(schema.name))
        return &schema;
  return nullptr;
}
