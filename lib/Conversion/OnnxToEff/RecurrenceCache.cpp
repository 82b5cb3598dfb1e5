//===- RecurrenceCache.cpp - equal layers are looked at once --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "RecurrenceCache.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/SHA1.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// Small constants by their bytes: each layer may have its own copy.
static ArrayRef<uint8_t> bytesOf(ElementsAttr value) {
  auto resource = dyn_cast<DenseResourceElementsAttr>(value);
  AsmResourceBlob *blob =
      resource ? resource.getRawHandle().getBlob() : nullptr;
  if (!blob || blob->getData().size() > (1 << 16))
    return {};
  return ArrayRef(reinterpret_cast<const uint8_t *>(blob->getData().data()),
                  blob->getData().size());
}

static bool isSame(Value a, Value b) {
  if (a == b)
    return true;
  ElementsAttr x = a.getDefiningOp<onnx::ConstantOp>().getValue(),
               y = b.getDefiningOp<onnx::ConstantOp>().getValue();
  ArrayRef<uint8_t> p = bytesOf(x), q = bytesOf(y);
  return x == y || (!p.empty() && p == q && x.getType() == y.getType());
}

/// The nodes of a region in order with everything but the values of tables of
/// floats, which come out as `constants`.
std::string RegionCache::textOf(const ClosedRegion &region,
                                SmallVectorImpl<Value> &constants) {
  llvm::SHA1 hash;
  auto add = [&](int64_t number) {
    hash.update(ArrayRef(reinterpret_cast<uint8_t *>(&number), sizeof number));
  };
  auto pointer = [&](const void *p) { add(reinterpret_cast<intptr_t>(p)); };
  llvm::DenseMap<Value, int64_t> number;
  int64_t next = 0;
  for (Value leaf : region.leaves) {
    number[leaf] = next++;
    pointer(leaf.getType().getAsOpaquePointer());
  }
  for (Operation *op : region.nodes) {
    auto node = cast<onnx::NodeOp>(op);
    hash.update(node.getOpType());
    pointer(op->getDiscardableAttrDictionary().getAsOpaquePointer());
    for (Value v : op->getOperands()) {
      auto [it, isNew] = number.try_emplace(v, next);
      next += isNew;
      add(it->second);
      auto constant = v.getDefiningOp<onnx::ConstantOp>();
      if (!constant || !isNew)
        continue;
      pointer(v.getType().getAsOpaquePointer());
      bool table =
          Graph::isFloat(v) && !isa<SplatElementsAttr>(constant.getValue());
      ArrayRef<uint8_t> bytes = bytesOf(constant.getValue());
      if (table)
        constants.push_back(v);
      else if (!bytes.empty())
        hash.update(bytes);
      else
        pointer(constant.getValue().getAsOpaquePointer());
    }
    for (Value v : op->getResults()) {
      number[v] = next++;
      pointer(v.getType().getAsOpaquePointer());
    }
  }
  add(number.lookup(region.result));
  add(number.lookup(region.a));
  for (Value v : region.escapes)
    add(number.lookup(v));
  for (Value v : region.steps)
    add(number.lookup(v));
  auto digest = hash.final();
  return std::string(digest.begin(), digest.end());
}

void RegionCache::remember(const ClosedRegion &region,
                           const std::optional<ScanRoles> &roles,
                           StringRef why) {
  Known entry;
  std::string text = textOf(region, entry.constants);
  entry.answer = {roles, why.str()};
  entry.leaves.assign(region.leaves.begin(), region.leaves.end());
  entry.escapes.assign(region.escapes.begin(), region.escapes.end());
  if (roles && roles->skip.view.base)
    for (auto [i, v] : llvm::enumerate(entry.constants))
      if (graph.view(v).base == roles->skip.view.base)
        entry.skip = int64_t(i);
  // Numbers that a view does not say would have to be found again.
  bool plain = !roles || (roles->a.view.base &&
                          (roles->skip.numbers.empty() || entry.skip >= 0));
  if (plain)
    known.try_emplace(text, std::move(entry));
}

std::optional<RegionCache::Answer>
RegionCache::lookup(const ClosedRegion &region) {
  SmallVector<Value> constants;
  auto it = known.find(textOf(region, constants));
  if (it == known.end())
    return std::nullopt;
  const Known &entry = it->second;
  Value a = graph.view(region.a).base;
  for (auto [i, pair] :
       llvm::enumerate(llvm::zip_equal(constants, entry.constants))) {
    auto [mine, theirs] = pair;
    // That a form is none does not depend on weights.
    bool weight = !entry.answer.roles || int64_t(i) == entry.skip ||
                  graph.view(mine).base == a;
    if (!weight && !isSame(mine, theirs))
      return std::nullopt;
  }
  Answer answer = entry.answer;
  if (!answer.roles)
    return answer;
  ScanRoles &r = *answer.roles;
  auto swap = [&](View &view) {
    for (auto [mine, theirs] : llvm::zip(region.leaves, entry.leaves))
      if (view.base == theirs) {
        view.base = mine;
        return;
      }
  };
  for (View *view : {&r.dt, &r.u, &r.b, &r.c, &r.past})
    swap(*view);
  r.y.base = region.result;
  for (View &present : r.presents)
    for (auto [mine, theirs] : llvm::zip_equal(region.escapes, entry.escapes))
      if (present.base == theirs) {
        present.base = mine;
        break;
      }
  auto read = [&](ScanVector &v) {
    auto numbers = graph.numbers(v.view);
    if (numbers)
      v.numbers = std::move(*numbers);
    return numbers.has_value();
  };
  r.a.view.base = a;
  if (entry.skip >= 0)
    r.skip.view.base = graph.view(constants[entry.skip]).base;
  if (!read(r.a) || (entry.skip >= 0 && !read(r.skip)))
    return std::nullopt;
  return answer;
}
