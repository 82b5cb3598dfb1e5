//===- RopeTable.cpp - rotary tables by their numbers ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Folding has turned positions and frequencies into cosines and sines
/// (RoFormer, arXiv 2104.09864, equation 15). The row at position 1 gives each
/// frequency as an angle; rows further on make it exact, since an angle known
/// to e at position p is a frequency known to e / p. A frequency that is
/// theta^(-i / pairs) for a round theta is taken as that.
///
//===----------------------------------------------------------------------===//

#include "RopeTable.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

bool RopeTable::madeBy(ArrayRef<double> frequencies, double scale) const {
  if (static_cast<int64_t>(frequencies.size()) != pairs)
    return false;
  for (auto [row, position] : llvm::enumerate(positions)) {
    // Frequency and product are rounded to f32 on both sides.
    double tolerance =
        (20 * rounding + 3e-7 * static_cast<double>(position)) * scale + 2e-6;
    for (int64_t i = 0; i < pairs; ++i) {
      float angle =
          static_cast<float>(position) * static_cast<float>(frequencies[i]);
      double c = scale * std::cos(static_cast<double>(angle)),
             s = scale * std::sin(static_cast<double>(angle));
      if (!(std::abs(c - cos[row * pairs + i]) <= tolerance &&
            std::abs(s - sin[row * pairs + i]) <= tolerance))
        return false;
    }
  }
  return true;
}

/// The round theta with theta^(-1 / pairs) = f, within `tolerance` of f; 0 when
/// there is none.
static double roundTheta(double f, int64_t pairs, double tolerance) {
  double theta = std::pow(f, -static_cast<double>(pairs));
  if (!std::isfinite(theta) || theta <= 1)
    return 0;
  for (int digits = 1; digits <= 5; ++digits) {
    double unit = std::pow(10.0, std::floor(std::log10(theta)) - digits + 1);
    double candidate = std::round(theta / unit) * unit;
    if (std::abs(std::pow(candidate, -1.0 / pairs) - f) <= tolerance)
      return candidate;
  }
  return 0;
}

std::optional<RopeFrequencies>
effc::raise::recoverFrequencies(const RopeTable &t, double theta,
                                std::string &reason) {
  size_t rows = t.positions.size();
  std::vector<size_t> order;
  for (size_t i = 0; i < rows; ++i)
    if (t.positions[i] > 0)
      order.push_back(i);
  llvm::sort(order, [&](size_t a, size_t b) {
    return t.positions[a] < t.positions[b];
  });
  // Angles are known modulo a full turn: frequencies up to 1 need a row at one
  // of the first positions.
  if (order.empty() || t.positions[order[0]] > 3) {
    reason =
        "the rotary table has no row for position 1; bind the past length to 1";
    return std::nullopt;
  }
  RopeFrequencies out;
  double sum = 0;
  for (int64_t i = 0; i < t.pairs; ++i)
    sum += std::hypot(t.cos[order[0] * t.pairs + i],
                      t.sin[order[0] * t.pairs + i]);
  out.scale = sum / t.pairs;
  if (std::abs(out.scale - 1) < 4 * t.rounding + 1e-6)
    out.scale = 1;
  if (!(out.scale > 1e-3 && out.scale < 1e3)) {
    reason = "cosines and sines of the rotary table do not belong together";
    return std::nullopt;
  }
  // The usual bases first: tables of few or coarse rows fit many frequencies.
  for (double base : {theta, 10000.0, 500000.0, 1000000.0}) {
    std::vector<double> usual;
    for (int64_t i = 0; i < t.pairs && base > 1; ++i)
      usual.push_back(std::pow(base, -static_cast<double>(i) / t.pairs));
    if (t.madeBy(usual, out.scale)) {
      out.values = std::move(usual);
      return out;
    }
  }
  double error = 0;
  for (int64_t i = 0; i < t.pairs; ++i) {
    auto angle = [&](size_t row) {
      return std::atan2(t.sin[row * t.pairs + i], t.cos[row * t.pairs + i]);
    };
    double f = angle(order[0]) / t.positions[order[0]];
    error = 2 * t.rounding / t.positions[order[0]];
    for (size_t row : llvm::drop_begin(order)) {
      double p = t.positions[row];
      // The product was rounded to f32 as well.
      double here = (2 * t.rounding + p * std::abs(f) * 6e-8) / p;
      if (here >= error || error * p > 1)
        continue;
      double turns = std::round((f * p - angle(row)) / (2 * M_PI));
      f = (angle(row) + 2 * M_PI * turns) / p;
      error = here;
    }
    out.values.push_back(f);
  }
  theta =
      t.pairs > 1 ? roundTheta(out.values[1], t.pairs, 4 * error + 1e-7) : 0;
  for (int64_t i = 0; i < t.pairs; ++i) {
    double exact = theta != 0
                       ? std::pow(theta, -static_cast<double>(i) / t.pairs)
                   : i == 0 ? 1
                            : 0;
    if (std::abs(out.values[i] - exact) <= 4 * error + 2e-7 * exact)
      out.values[i] = exact;
  }
  if (!t.madeBy(out.values, out.scale)) {
    reason = "the rotary table is not made of one frequency for each pair";
    return std::nullopt;
  }
  return out;
}

static std::optional<RopeTable> readTable(Graph &g, Value cos, Value sin,
                                          unsigned axis,
                                          ArrayRef<int64_t> positions,
                                          std::string &reason) {
  auto c = g.numbers(cos), s = g.numbers(sin);
  if (!c || !s || Graph::shape(cos) != Graph::shape(sin)) {
    reason = "the rotary table is not constant";
    return std::nullopt;
  }
  ArrayRef<int64_t> shape = Graph::shape(cos);
  int64_t width = shape.back(), rows = shape[axis], inner = 1;
  for (unsigned i = axis + 1; i + 1 < shape.size(); ++i)
    inner *= shape[i];
  if (rows != static_cast<int64_t>(positions.size())) {
    reason =
        "the rotary table has another number of rows than the call has tokens";
    return std::nullopt;
  }
  auto halves = [&](const std::vector<double> &v) {
    for (size_t at = 0; at < v.size(); at += width)
      for (int64_t i = 0; i < width / 2; ++i)
        if (v[at + i] != v[at + width / 2 + i])
          return false;
    return true;
  };
  RopeTable t;
  // What the values were rounded to, which folded casts hide.
  auto fits = [&](const llvm::fltSemantics &type) {
    for (const std::vector<double> *v : {&*c, &*s})
      for (double x : *v) {
        APFloat f(x);
        bool lost = false;
        f.convert(type, APFloat::rmNearestTiesToEven, &lost);
        if (lost)
          return false;
      }
    return true;
  };
  t.rounding = fits(APFloat::BFloat())     ? std::ldexp(1, -8)
               : fits(APFloat::IEEEhalf()) ? std::ldexp(1, -11)
                                           : 6e-8;
  t.positions.assign(positions.begin(), positions.end());
  t.pairs = width;
  if (width % 2 == 0 && halves(*c) && halves(*s))
    t.pairs = width / 2;
  for (const std::vector<double> *v : {&*c, &*s}) {
    std::vector<double> &out = v == &*c ? t.cos : t.sin;
    out.assign(rows * t.pairs, 0);
    for (size_t at = 0; at < v->size(); ++at) {
      int64_t column = at % width, row = at / width / inner % rows;
      if (column >= t.pairs)
        continue;
      double &slot = out[row * t.pairs + column];
      if (at / width / inner / rows == 0 && at / width % inner == 0)
        slot = (*v)[at];
      else if (slot != (*v)[at]) {
        reason = "the rotary table differs between rows of the batch or heads";
        return std::nullopt;
      }
    }
  }
  return t;
}

/// Leaves out rows of a long table: a thousand from the start and some of the
/// others say as much.
static void thinOut(RopeTable &t) {
  constexpr size_t dense = 1024, step = 61;
  RopeTable kept = t;
  kept.cos.clear();
  kept.sin.clear();
  kept.positions.clear();
  for (size_t row = 0; row < t.positions.size(); ++row) {
    if (row >= dense && row % step != 0)
      continue;
    kept.positions.push_back(t.positions[row]);
    kept.cos.insert(kept.cos.end(), t.cos.begin() + row * t.pairs,
                    t.cos.begin() + (row + 1) * t.pairs);
    kept.sin.insert(kept.sin.end(), t.sin.begin() + row * t.pairs,
                    t.sin.begin() + (row + 1) * t.pairs);
  }
  t = std::move(kept);
}

std::shared_ptr<const Rope> effc::raise::findRope(Graph &g, Value cos,
                                                  Value sin, unsigned axis,
                                                  ArrayRef<int64_t> positions,
                                                  std::string &reason) {
  auto &known = g.ropes[{g.strip(cos).getAsOpaquePointer(),
                         g.strip(sin).getAsOpaquePointer(), axis}];
  if (known)
    return known;
  auto table = readTable(g, cos, sin, axis, positions, reason);
  if (!table)
    return nullptr;
  thinOut(*table);
  auto frequencies = recoverFrequencies(*table, g.ropeTheta, reason);
  if (!frequencies)
    return nullptr;
  return known = std::make_shared<Rope>(
             Rope{std::move(*table), std::move(*frequencies)});
}

Value effc::raise::emitRope(Emitter &e, Value x, int64_t heads,
                            bool interleaved, const Rope &rope) {
  Value &f = e.ropeTables[&rope];
  if (!f)
    f = e.table("rope.inv_freq", rope.frequencies.values,
                [&](ArrayRef<double> have) {
                  return rope.table.madeBy(have, rope.frequencies.scale);
                });
  if (!f)
    return {};
  APFloat scale(static_cast<float>(rope.frequencies.scale));
  return eff::RopeOp::create(e.builder, e.loc, x, f, heads, interleaved, scale);
}
