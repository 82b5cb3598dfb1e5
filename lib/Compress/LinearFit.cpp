//===- LinearFit.cpp - weights that follow changed inputs -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/LinearFit.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include <cmath>

namespace effc::compress {

using Matrix =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Result<LinearFit> LinearFit::create(int64_t inputs, int64_t outputs) {
  if (inputs < 1 || outputs < 1)
    return badShape("a linear of " + std::to_string(inputs) + " inputs and " +
                    std::to_string(outputs) + " outputs cannot be fitted");
  auto moments = Hessian::create(inputs + outputs);
  if (!moments)
    return moments.takeError();
  LinearFit fit;
  fit.inputs = inputs;
  fit.outputs = outputs;
  fit.moments = moments.take();
  return fit;
}

Status LinearFit::add(MatrixView<const float> x, MatrixView<const float> y,
                      const ParallelFor &parallel) {
  if (!x.isValid() || !y.isValid() || x.cols != inputs || y.cols != outputs ||
      x.rows != y.rows)
    return badShape("rows of " + std::to_string(x.cols) + " and " +
                    std::to_string(y.cols) + " values do not fit a linear of " +
                    std::to_string(inputs) + " inputs and " +
                    std::to_string(outputs) + " outputs");
  std::vector<float> rows;
  rows.reserve(x.rows * (inputs + outputs));
  for (int64_t i = 0; i < x.rows; ++i) {
    rows.insert(rows.end(), x.row(i), x.row(i) + inputs);
    rows.insert(rows.end(), y.row(i), y.row(i) + outputs);
  }
  return moments.add(
      MatrixView<const float>(rows.data(), x.rows, inputs + outputs), parallel);
}

Result<FittedLinear> LinearFit::solve(MatrixView<const float> w,
                                      double damping) const {
  if (!w.isValid() || w.rows != outputs || w.cols != inputs)
    return badShape("a weight of " + std::to_string(w.rows) + " x " +
                    std::to_string(w.cols) + " is not what was fitted");
  if (!(damping > 0) || !std::isfinite(damping))
    return badSetting("the damping of a fit must be positive");
  auto sums = moments.getMatrix();
  if (!sums)
    return sums.takeError();
  int64_t size = inputs + outputs;
  Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic,
                                 Eigen::RowMajor>>
      all((*sums).data(), size, size);
  Matrix xx = all.topLeftCorner(inputs, inputs).cast<double>(),
         yx = all.bottomLeftCorner(outputs, inputs).cast<double>(),
         weight(outputs, inputs);
  for (int64_t i = 0; i < outputs; ++i)
    for (int64_t j = 0; j < inputs; ++j)
      weight(i, j) = w.row(i)[j];
  double energy =
      all.bottomRightCorner(outputs, outputs).diagonal().cast<double>().sum();
  auto errorOf = [&](const Matrix &m) {
    double squares =
        (m * xx).cwiseProduct(m).sum() - 2 * m.cwiseProduct(yx).sum() + energy;
    return energy > 0 ? std::max(squares, 0.0) / energy : 0.0;
  };
  // Inputs that are always zero leave their columns as they are.
  double lambda = damping * std::max(xx.diagonal().mean(), 1e-30);
  Matrix damped = xx;
  damped.diagonal().array() += lambda;
  Eigen::LLT<Matrix> factor(damped);
  if (factor.info() != Eigen::Success)
    return badValues("the inputs of a linear cannot be told apart",
                     "the damping is too small for them");
  Matrix fitted =
      weight + factor.solve((yx - weight * xx).transpose()).transpose();
  if (!fitted.allFinite())
    return badValues("a fitted weight is not finite");
  FittedLinear result;
  result.errorBefore = errorOf(weight);
  result.errorAfter = errorOf(fitted);
  result.weights.resize(outputs * inputs);
  for (int64_t i = 0; i < outputs * inputs; ++i)
    result.weights[i] = static_cast<float>(fitted.data()[i]);
  return result;
}

} // namespace effc::compress
