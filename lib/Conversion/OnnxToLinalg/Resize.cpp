//===- Resize.cpp - interpolation, one axis after the other ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Sizes and scales are known at compile time, so along each axis an output
/// element is a sum of input elements with known weights: a small matrix.
/// Nearest interpolation is a list of places instead.
///
//===----------------------------------------------------------------------===//

#include "Lowering.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

namespace {
/// How one axis is resized.
struct Axis {
  int64_t in = 0, out = 0;
  /// Output elements for one input element, as the node gives it.
  double scale = 1;
  /// Region of interest, for tf_crop_and_resize.
  double roiBegin = 0, roiEnd = 1;
};

struct Interpolation {
  StringRef mode, coordinates, nearest;
  double cubicA = -0.75;
  bool antialias = false, excludeOutside = false;

  /// Where output element `i` lies on the input's axis.
  double source(const Axis &axis, int64_t i) const;
  /// The input element that is nearest to a place.
  int64_t round(double x) const;
  /// Weight of an input element at this distance, before scaling.
  double kernel(double distance) const;
  /// Weights of all input elements for a place.
  SmallVector<double> weights(const Axis &axis, double place) const;
};
} // namespace

double Interpolation::source(const Axis &axis, int64_t i) const {
  double x = double(i), scale = axis.scale;
  if (coordinates == "asymmetric")
    return x / scale;
  // The length as the scale gives it, before it was rounded to a size.
  if (coordinates == "align_corners")
    return axis.out == 1
               ? 0
               : x * double(axis.in - 1) / (double(axis.in) * scale - 1);
  if (coordinates == "pytorch_half_pixel")
    return axis.out == 1 ? 0 : (x + 0.5) / scale - 0.5;
  if (coordinates == "half_pixel_symmetric") {
    double adjustment = double(axis.out) / (scale * double(axis.in));
    double offset = double(axis.in) / 2 * (1 - adjustment);
    return offset + (x + 0.5) / scale - 0.5;
  }
  if (coordinates == "tf_half_pixel_for_nn")
    return (x + 0.5) / scale;
  if (coordinates == "tf_crop_and_resize") {
    double last = double(axis.in - 1);
    if (axis.out == 1)
      return 0.5 * (axis.roiBegin + axis.roiEnd) * last;
    return axis.roiBegin * last +
           x * (axis.roiEnd - axis.roiBegin) * last / double(axis.out - 1);
  }
  return (x + 0.5) / scale - 0.5;
}

int64_t Interpolation::round(double x) const {
  if (nearest == "floor")
    return int64_t(std::floor(x));
  if (nearest == "ceil")
    return int64_t(std::ceil(x));
  if (nearest == "round_prefer_ceil")
    return int64_t(std::floor(x + 0.5));
  return int64_t(std::ceil(x - 0.5));
}

double Interpolation::kernel(double distance) const {
  double d = std::fabs(distance);
  if (mode == "linear")
    return std::max(0.0, 1 - d);
  if (d <= 1)
    return ((cubicA + 2) * d - (cubicA + 3)) * d * d + 1;
  if (d < 2)
    return ((cubicA * d - 5 * cubicA) * d + 8 * cubicA) * d - 4 * cubicA;
  return 0;
}

SmallVector<double> Interpolation::weights(const Axis &axis,
                                           double place) const {
  SmallVector<double> result(axis.in, 0);
  // When shrinking, the kernel is widened to cover all that an output element
  // stands for.
  double stretch = antialias && axis.scale < 1 ? axis.scale : 1;
  double reach = (mode == "linear" ? 1 : 2) / stretch;
  double sum = 0;
  for (int64_t i = int64_t(std::floor(place - reach));
       i <= int64_t(std::ceil(place + reach)); ++i) {
    bool outside = i < 0 || i >= axis.in;
    if (outside && excludeOutside)
      continue;
    double weight = kernel((double(i) - place) * stretch);
    result[std::clamp<int64_t>(i, 0, axis.in - 1)] += weight;
    sum += weight;
  }
  if (sum != 0)
    for (double &weight : result)
      weight /= sum;
  return result;
}

static Value nearest(Lowering &l, Value x, int64_t axis,
                     ArrayRef<double> places) {
  SmallVector<int64_t> shape(Lowering::shape(x));
  shape[axis] = int64_t(places.size());
  Value table = l.tensor({shape[axis]}, l.b.getI64Type(), places);
  return l.generate(shape, Lowering::elementOf(x),
                    [&](const Expr &e, ValueRange i) {
                      SmallVector<Value> at(i);
                      at[axis] = e.toIndex(e.extract(table, i[axis]));
                      return e.extract(x, at);
                    });
}

/// y[.., o, ..] = sum over i of weights[o, i] x[.., i, ..].
static Value weighted(Lowering &l, Value x, int64_t axis, int64_t out,
                      ArrayRef<double> weights) {
  SmallVector<int64_t> shape(Lowering::shape(x));
  int64_t in = shape[axis];
  shape[axis] = out;
  Factor factor{x, {}};
  for (size_t i = 0; i < shape.size(); ++i)
    factor.indices.push_back(
        l.dim(i == size_t(axis) ? unsigned(shape.size()) : unsigned(i)));
  Value matrix = l.tensor({out, in}, Lowering::elementOf(x), weights);
  return l.contract(shape, {in},
                    {factor, {matrix, {l.dim(axis), l.dim(shape.size())}}},
                    Lowering::elementOf(x));
}

/// What Resize asks for; nullopt when it is not known.
static std::optional<SmallVector<Axis>>
getAxes(Lowering &l, SmallVectorImpl<int64_t> &changed) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x);
  // Version 10 and Upsample have no region of interest.
  bool old = l.node.is("Upsample") || l.numInputs() == 2;
  unsigned scalesAt = old ? 1 : 2;
  auto axes = l.node.getInts("axes");
  if (!axes) {
    axes.emplace();
    for (int64_t i = 0; i < rank; ++i)
      axes->push_back(i);
  }
  auto normal = normalAxes(*axes, rank);
  if (!normal)
    return std::nullopt;
  SmallVector<Axis> result(rank);
  for (int64_t i = 0; i < rank; ++i) {
    result[i].in = Lowering::shape(x)[i];
    result[i].out = l.out().getShape()[i];
    if (result[i].in == 0 || result[i].out == 0)
      return std::nullopt;
    result[i].scale = double(result[i].out) / double(result[i].in);
  }
  SmallVector<double> scales;
  if (auto given = l.constant(scalesAt))
    scales.assign(given->floats.begin(), given->floats.end());
  else if (auto list = l.node->getAttrOfType<DenseF32ArrayAttr>("scales"))
    scales.assign(list.asArrayRef().begin(), list.asArrayRef().end());
  else if (l.in(scalesAt))
    return std::nullopt;
  if (scales.size() == normal->size())
    for (auto [axis, scale] : llvm::zip(*normal, scales))
      result[axis].scale = scale;
  else if (!scales.empty())
    return std::nullopt;
  StringRef policy = l.node.getString("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch" && scales.empty()) {
    // One scale for all axes, from the sizes that the node names.
    auto sizes = l.ints(3);
    if (!sizes || sizes->size() != normal->size())
      return std::nullopt;
    double common = policy == "not_larger" ? HUGE_VAL : 0;
    for (auto [axis, size] : llvm::zip(*normal, *sizes)) {
      double scale = double(size) / double(result[axis].in);
      common = policy == "not_larger" ? std::min(common, scale)
                                      : std::max(common, scale);
    }
    for (int64_t axis : *normal)
      result[axis].scale = common;
  }
  if (l.node.getString("coordinate_transformation_mode", "") ==
      "tf_crop_and_resize") {
    auto roi = l.constant(1);
    size_t count = normal->size();
    if (!roi || !roi->isFloat() || roi->floats.size() != 2 * count)
      return std::nullopt;
    for (size_t i = 0; i < count; ++i) {
      result[(*normal)[i]].roiBegin = roi->floats[i];
      result[(*normal)[i]].roiEnd = roi->floats[count + i];
    }
  }
  for (int64_t axis : *normal) {
    const Axis &a = result[axis];
    if (!(a.scale > 0))
      return std::nullopt;
    if (a.in != a.out || a.scale != 1 || a.roiBegin != 0 || a.roiEnd != 1)
      changed.push_back(axis);
  }
  return result;
}

static Results resize(Lowering &l) {
  Value x = l.in(0);
  if (l.out().getRank() != Lowering::rank(x))
    return failure();
  Interpolation how;
  bool old = l.node.is("Upsample") || l.numInputs() == 2;
  how.mode = l.node.getString("mode", "nearest");
  if (how.mode == "bilinear" || how.mode == "trilinear")
    how.mode = "linear";
  how.coordinates =
      old ? "asymmetric"
          : l.node.getString("coordinate_transformation_mode", "half_pixel");
  how.nearest =
      old ? "floor" : l.node.getString("nearest_mode", "round_prefer_floor");
  how.cubicA = l.node.getFloat("cubic_coeff_a", -0.75f);
  how.antialias = l.node.getInt("antialias", 0);
  how.excludeOutside = l.node.getInt("exclude_outside", 0);
  bool crops = how.coordinates == "tf_crop_and_resize";
  SmallVector<int64_t> changed;
  auto axes = getAxes(l, changed);
  if (!axes ||
      (how.mode != "nearest" && how.mode != "linear" && how.mode != "cubic"))
    return failure();
  Type element = Lowering::elementOf(x);
  bool isUnsigned = l.isUnsigned(0);
  if (how.mode != "nearest")
    x = Lowering::isFloat(x) ? l.widened(x)
                             : l.cast(x, l.b.getF32Type(), isUnsigned);
  SmallVector<SmallVector<double>> inside(axes->size());
  bool cut = false;
  // The weights of an axis are a matrix that is written out.
  constexpr int64_t mostWeights = int64_t(1) << 26;
  for (int64_t axis : changed) {
    const Axis &a = (*axes)[axis];
    if (a.out > mostWeights / std::max<int64_t>(a.in, 1))
      return failure();
    SmallVector<double> places, weights;
    for (int64_t o = 0; o < a.out; ++o) {
      double place = how.source(a, o);
      bool within = !crops || (place >= 0 && place <= double(a.in - 1));
      inside[axis].push_back(within);
      cut |= !within;
      if (how.mode == "nearest")
        places.push_back(
            double(std::clamp<int64_t>(how.round(place), 0, a.in - 1)));
      else
        llvm::append_range(weights, how.weights(a, place));
    }
    x = how.mode == "nearest" ? nearest(l, x, axis, places)
                              : weighted(l, x, axis, a.out, weights);
  }
  if (how.mode != "nearest") {
    if (!isa<FloatType>(element))
      x = l.map(x, [](const Expr &e, ValueRange v) {
        return e.op<math::RoundEvenOp>(v[0]);
      });
    x = l.cast(x, element, false, isUnsigned);
  }
  // Places outside of the region have a value of their own.
  double beyond = l.node.getFloat("extrapolation_value", 0);
  for (int64_t axis : changed) {
    if (!cut)
      break;
    SmallVector<int64_t> line(axes->size(), 1);
    line[axis] = (*axes)[axis].out;
    Value mask = l.tensor(line, l.b.getI1Type(), inside[axis]);
    x = l.map(element, {mask, x}, [&](const Expr &e, ValueRange v) {
      return e.select(v[0], v[1], e.constant(v[1].getType(), beyond));
    });
  }
  return one(x);
}

void addResize(Table &t) {
  t["Resize"] = resize;
  t["Upsample"] = resize;
}

} // namespace effc::lower
