//===- CholeskyTest.cpp - products and factors ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Cholesky.h"

#include "TestUtils.h"

#include <Eigen/Dense>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

template <typename T>
using RowMajor =
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

std::vector<Isa> getIsas() {
  std::vector<Isa> isas = {Isa::Baseline};
  if (getIsa() != Isa::Baseline)
    isas.push_back(Isa::Avx2);
  if (getIsa() == Isa::Avx512)
    isas.push_back(Isa::Avx512);
  return isas;
}

template <typename T> void testProducts(double tolerance) {
  Random random(1);
  for (int trial = 0; trial < 30; ++trial) {
    int64_t m = between(random, 1, 150), n = between(random, 1, 150),
            k = between(random, 1, 600);
    auto a = normal<T>(random, m * k), b = normal<T>(random, k * n),
         c = normal<T>(random, m * n);
    bool transposeA = trial % 2, transposeB = trial % 3 == 0;
    T sign = trial % 4 < 2 ? 1 : -1;
    Strided<T> viewA =
        transposeA ? Strided<T>{a.data(), 1, m} : Strided<T>{a.data(), k, 1};
    Strided<T> viewB =
        transposeB ? Strided<T>{b.data(), 1, k} : Strided<T>{b.data(), n, 1};
    RowMajor<double> denseA(m, k), denseB(k, n), wanted(m, n);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t p = 0; p < k; ++p)
        denseA(i, p) = viewA.data[i * viewA.row + p * viewA.col];
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < n; ++j)
        denseB(p, j) = viewB.data[p * viewB.row + j * viewB.col];
    wanted = Eigen::Map<RowMajor<T>>(c.data(), m, n).template cast<double>() +
             double(sign) * (denseA * denseB);

    std::vector<T> first;
    for (Isa isa : getIsas())
      for (unsigned threads : {1, 3}) {
        std::vector<T> result = c;
        gemm<T>(isa, m, n, k, viewA, viewB, result.data(), n, sign,
                onThreads(threads));
        if (first.empty()) {
          first = result;
          for (int64_t i = 0; i < m * n; ++i)
            ASSERT_NEAR(result[i], wanted.data()[i], tolerance * std::sqrt(k));
        }
        // Not close: equal.
        ASSERT_EQ(result, first);
      }
    std::vector<T> serialResult = c;
    gemmSerial<T>(getIsa(), m, n, k, viewA, viewB, serialResult.data(), n,
                  sign);
    ASSERT_EQ(serialResult, first);
  }
}

TEST(Gemm, IsTheProductAndEqualOnEveryProcessorF32) {
  testProducts<float>(1e-5);
}
TEST(Gemm, IsTheProductAndEqualOnEveryProcessorF64) {
  testProducts<double>(1e-13);
}

TEST(Gemm, LowerTriangleIsThatOfTheFullProduct) {
  Random random(2);
  for (int64_t n : {1, 63, 130, 300}) {
    int64_t k = 70;
    auto x = normal(random, k * n);
    std::vector<float> full(n * n), lower(n * n);
    Strided<float> a{x.data(), 1, n}, b{x.data(), n, 1};
    gemm<float>(getIsa(), n, n, k, a, b, full.data(), n, 1, serial());
    gemm<float>(getIsa(), n, n, k, a, b, lower.data(), n, 1, serial(),
                Region::LowerTriangle);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j <= i; ++j)
        ASSERT_EQ(full[i * n + j], lower[i * n + j]);
  }
}

/// A random positive definite matrix.
template <typename T>
std::vector<T> definite(Random &random, int64_t n, double ridge) {
  auto x = normal<double>(random, n * (n / 2 + 1));
  Eigen::Map<RowMajor<double>> map(x.data(), n / 2 + 1, n);
  RowMajor<double> h = map.transpose() * map / double(n);
  h += ridge * RowMajor<double>::Identity(n, n);
  std::vector<T> result(n * n);
  Eigen::Map<RowMajor<T>>(result.data(), n, n) = h.template cast<T>();
  return result;
}

template <typename T> void testFactor(double tolerance) {
  Random random(3);
  for (int64_t n : {1, 2, 17, 127, 128, 129, 256, 300}) {
    auto h = definite<T>(random, n, 0.05);
    std::vector<T> first;
    for (Isa isa : getIsas())
      for (unsigned threads : {1, 2, 5}) {
        auto u = h;
        ASSERT_TRUE(invertToUpperFactor(isa, u, n, onThreads(threads)));
        if (first.empty())
          first = u;
        ASSERT_EQ(u, first);
      }
    Eigen::Map<RowMajor<T>> map(first.data(), n, n);
    RowMajor<double> u = map.template cast<double>();
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < i; ++j)
        ASSERT_EQ(u(i, j), 0);
    // The factor by the long way.
    RowMajor<double> dense =
        Eigen::Map<RowMajor<T>>(h.data(), n, n).template cast<double>();
    RowMajor<double> inverse = dense.inverse();
    RowMajor<double> wanted = inverse.llt().matrixU();
    EXPECT_LT((u - wanted).norm() / wanted.norm(), tolerance) << n;
    EXPECT_LT((u.transpose() * u - inverse).norm() / inverse.norm(), tolerance)
        << n;
  }
}

TEST(Cholesky, FactorsTheInverseF32) { testFactor<float>(1e-4); }
TEST(Cholesky, FactorsTheInverseF64) { testFactor<double>(1e-12); }

TEST(Cholesky, IndefiniteAndNonFiniteMatricesAreRefused) {
  Random random(4);
  for (int64_t n : {1, 5, 200}) {
    auto h = definite<float>(random, n, 0.05);
    auto spoiled = h;
    spoiled[(n / 2) * n + n / 2] = -1;
    EXPECT_FALSE(invertToUpperFactor(getIsa(), spoiled, n, serial()));
    spoiled = h;
    spoiled[(n / 2) * n + n / 2] = std::nanf("");
    EXPECT_FALSE(invertToUpperFactor(getIsa(), spoiled, n, serial()));
    spoiled = h;
    spoiled[0] = INFINITY;
    EXPECT_FALSE(invertToUpperFactor(getIsa(), spoiled, n, serial()));
  }
  // Rank 2 of 40.
  std::vector<float> low(40 * 40);
  for (int64_t i = 0; i < 40; ++i)
    for (int64_t j = 0; j < 40; ++j)
      low[i * 40 + j] = float(1 + i * j);
  EXPECT_FALSE(invertToUpperFactor(getIsa(), low, 40, serial()));
}

} // namespace
