//===- ProductSums.h - the loops of convolutions and products ---*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_REFERENCE_PRODUCTSUMS_H
#define EFFC_LIB_REFERENCE_PRODUCTSUMS_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace effc::reference {

/// `out[i] += x[s.x + i stride] * w[s.w]` for all steps s in their order and
/// the elements i of a row: one row of what a linalg op sums up, each element
/// in the order of the op's loops.
struct ProductSum {
  struct Step {
    int64_t x, w;
  };
  std::vector<Step> steps;
  int64_t row = 0, stride = 1;
};

void addProducts(float *out, const float *x, const float *w,
                 const ProductSum &sum);
void addProducts(double *out, const double *x, const double *w,
                 const ProductSum &sum);

} // namespace effc::reference

#endif // EFFC_LIB_REFERENCE_PRODUCTSUMS_H
