//===- Strided.cpp - reshapes and transposes as strides -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Strided.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace effc::raise;
using llvm::ArrayRef;
using llvm::SmallVector;

namespace {
/// Appends `f`, merged with the last factor when it continues it.
void append(llvm::SmallVectorImpl<Factor> &list, Factor f) {
  if (f.size == 1)
    return;
  if (!list.empty() && list.back().stride == f.stride * f.size) {
    list.back() = {list.back().size * f.size, f.stride};
    return;
  }
  list.push_back(f);
}

int64_t product(ArrayRef<Factor> factors) {
  int64_t n = 1;
  for (const Factor &f : factors)
    n *= f.size;
  return n;
}
} // namespace

int64_t effc::raise::numElements(ArrayRef<int64_t> shape) {
  int64_t n = 1;
  for (int64_t d : shape)
    n *= d;
  return n;
}

Strided Strided::identity(ArrayRef<int64_t> shape) {
  Strided s;
  s.dims.resize(shape.size());
  int64_t stride = 1;
  for (unsigned i = shape.size(); i-- > 0;) {
    append(s.dims[i], {shape[i], stride});
    stride *= shape[i];
  }
  return s;
}

int64_t Strided::size(unsigned dim) const { return product(dims[dim]); }

SmallVector<int64_t> Strided::shape() const {
  SmallVector<int64_t> out;
  for (unsigned i = 0; i < rank(); ++i)
    out.push_back(size(i));
  return out;
}

int64_t Strided::numElements() const {
  int64_t n = 1;
  for (unsigned i = 0; i < rank(); ++i)
    n *= size(i);
  return n;
}

void Strided::transpose(ArrayRef<int64_t> perm) {
  decltype(dims) old;
  std::swap(old, dims);
  for (int64_t p : perm)
    dims.push_back(old[p]);
}

SmallVector<Factor> Strided::flat() const {
  SmallVector<Factor> out;
  for (const auto &dim : dims)
    for (Factor f : dim)
      append(out, f);
  return out;
}

bool Strided::reshape(ArrayRef<int64_t> shape) {
  if (raise::numElements(shape) != numElements())
    return false;
  SmallVector<Factor> list = flat();
  std::reverse(list.begin(), list.end()); // the outermost is at the back
  decltype(dims) out;
  for (int64_t d : shape) {
    auto &dim = out.emplace_back();
    int64_t need = d;
    if (need == 0) // empty tensors have no factors worth keeping
      dim.push_back({0, 0});
    while (need > 1) {
      if (list.empty())
        return false;
      Factor f = list.pop_back_val();
      if (f.size != 0 && need % f.size == 0) {
        append(dim, f);
        need /= f.size;
      } else if (f.size % need == 0 && f.size != 0) {
        int64_t rest = f.size / need;
        append(dim, {need, f.stride * rest});
        list.push_back({rest, f.stride});
        need = 1;
      } else {
        return false;
      }
    }
  }
  dims = std::move(out);
  return true;
}

void Strided::expand(ArrayRef<int64_t> shape) {
  while (rank() < shape.size())
    dims.insert(dims.begin(), SmallVector<Factor, 2>());
  unsigned lead = rank() - shape.size();
  for (auto [i, d] : llvm::enumerate(shape))
    if (d != 1 && size(lead + i) == 1)
      dims[lead + i] = {{d, 0}};
}

Strided Strided::withoutRepeats() const {
  Strided out;
  for (const auto &dim : dims) {
    auto &kept = out.dims.emplace_back();
    for (Factor f : dim)
      if (f.stride != 0)
        append(kept, f);
  }
  return out;
}

std::optional<Strided> Strided::compose(const Strided &inner) const {
  SmallVector<Factor> base = inner.flat(); // outermost first
  Strided out;
  for (const auto &dim : dims) {
    SmallVector<Factor> reversed; // innermost first
    for (Factor f : llvm::reverse(dim)) {
      if (f.stride == 0) {
        reversed.push_back(f);
        continue;
      }
      int64_t at = f.stride, rest = f.size;
      while (rest > 1) {
        // The factor of the inner view that the linear stride `at` falls into.
        int64_t low = 1;
        const Factor *found = nullptr;
        for (const Factor &b : llvm::reverse(base)) {
          if (at < low * b.size) {
            found = &b;
            break;
          }
          low *= b.size;
        }
        if (!found || at % low != 0)
          return std::nullopt;
        int64_t room = low * found->size / at;
        if (low * found->size % at != 0)
          return std::nullopt;
        int64_t take = std::min(rest, room);
        if (rest % take != 0 || room % take != 0)
          return std::nullopt;
        if (take == 1)
          return std::nullopt;
        reversed.push_back({take, found->stride * (at / low)});
        at *= take;
        rest /= take;
      }
    }
    auto &merged = out.dims.emplace_back();
    for (Factor f : llvm::reverse(reversed))
      append(merged, f);
  }
  return out;
}

void Strided::visit(llvm::function_ref<void(int64_t)> fn) const {
  // Count through the factors like an odometer.
  SmallVector<Factor> factors = flat();
  SmallVector<int64_t> at(factors.size(), 0);
  int64_t offset = 0;
  for (int64_t left = numElements(); left > 0; --left) {
    fn(offset);
    for (unsigned i = factors.size(); i-- > 0;) {
      offset += factors[i].stride;
      if (++at[i] < factors[i].size)
        break;
      offset -= factors[i].stride * factors[i].size;
      at[i] = 0;
    }
  }
}

std::vector<double> Strided::gather(ArrayRef<double> from) const {
  std::vector<double> out;
  out.reserve(numElements());
  visit([&](int64_t offset) {
    out.push_back(offset < int64_t(from.size()) ? from[offset] : NAN);
  });
  return out;
}

bool Strided::isIdentity(int64_t elements) const {
  if (numElements() != elements)
    return false;
  SmallVector<Factor> list = flat();
  return elements <= 1 || (list.size() == 1 && list[0].stride == 1);
}

bool Strided::isPermutation(int64_t elements) const {
  if (numElements() != elements)
    return false;
  SmallVector<Factor> list = flat();
  llvm::sort(list, [](Factor a, Factor b) { return a.stride < b.stride; });
  int64_t stride = 1;
  for (Factor f : list) {
    if (f.stride != stride)
      return false;
    stride *= f.size;
  }
  return stride == elements;
}
