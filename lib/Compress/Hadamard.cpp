//===- Hadamard.cpp - exact Hadamard rotations ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Hadamard.h"

#include <algorithm>
#include <cmath>
#include <memory>

namespace effc::compress {

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

static bool isPrime(int64_t q) {
  if (q < 2)
    return false;
  for (int64_t d = 2; d * d <= q; ++d)
    if (q % d == 0)
      return false;
  return true;
}

/// Legendre's symbol of 0 .. q - 1 for an odd prime q.
static std::vector<int8_t> getCharacters(int64_t q) {
  std::vector<int8_t> character(q, -1);
  character[0] = 0;
  for (int64_t x = 1; x < q; ++x)
    character[x * x % q] = 1;
  return character;
}

Result<SignMatrix> paleyFirst(int64_t q) {
  if (q > 10000 || !isPrime(q) || q % 4 != 3)
    return badShape("Paley's first construction does not exist for q = " +
                        std::to_string(q),
                    "q must be a prime that is 3 modulo 4");
  std::vector<int8_t> character = getCharacters(q);
  SignMatrix h{q + 1, std::vector<int8_t>((q + 1) * (q + 1))};
  for (int64_t i = 0; i <= q; ++i)
    for (int64_t j = 0; j <= q; ++j) {
      int8_t &sign = h.signs[i * h.order + j];
      if (i == 0)
        sign = j == 0 ? 1 : -1;
      else if (j == 0 || i == j)
        sign = 1;
      else
        sign = character[(i - j + q) % q];
    }
  return h;
}

Result<SignMatrix> paleySecond(int64_t q) {
  if (q > 10000 || !isPrime(q) || q % 4 != 1)
    return badShape("Paley's second construction does not exist for q = " +
                        std::to_string(q),
                    "q must be a prime that is 1 modulo 4");
  std::vector<int8_t> character = getCharacters(q);
  int64_t order = 2 * (q + 1);
  SignMatrix h{order, std::vector<int8_t>(order * order)};
  // A 0 of the conference matrix becomes the first tile, a sign c becomes c
  // times the second.
  const int8_t zero[2][2] = {{1, -1}, {-1, -1}}, one[2][2] = {{1, 1}, {1, -1}};
  for (int64_t i = 0; i <= q; ++i)
    for (int64_t j = 0; j <= q; ++j) {
      int8_t c = i == j ? 0 : i == 0 || j == 0 ? 1 : character[(i - j + q) % q];
      for (int r = 0; r < 2; ++r)
        for (int s = 0; s < 2; ++s)
          h.signs[(2 * i + r) * order + 2 * j + s] =
              c == 0 ? zero[r][s] : int8_t(c * one[r][s]);
    }
  return h;
}

Result<SignMatrix> williamson(const std::string &a, const std::string &b,
                              const std::string &c, const std::string &d) {
  const std::string *rows[4] = {&a, &b, &c, &d};
  int64_t n = a.size();
  for (const std::string *row : rows) {
    if (n == 0 || int64_t(row->size()) != n ||
        row->find_first_not_of("+-") != std::string::npos)
      return badShape("Williamson's array needs four rows of equally many + "
                      "and -");
    for (int64_t i = 1; i < n; ++i)
      if ((*row)[i] != (*row)[n - i])
        return badShape("Williamson's array needs symmetric circulants");
  }
  static const int8_t block[4][4] = {
      {0, 1, 2, 3}, {1, 0, 3, 2}, {2, 3, 0, 1}, {3, 2, 1, 0}};
  static const int8_t sign[4][4] = {
      {1, 1, 1, 1}, {-1, 1, -1, 1}, {-1, 1, 1, -1}, {-1, -1, 1, 1}};
  SignMatrix h{4 * n, std::vector<int8_t>(16 * n * n)};
  for (int64_t i = 0; i < 4 * n; ++i)
    for (int64_t j = 0; j < 4 * n; ++j) {
      char entry = (*rows[block[i / n][j / n]])[(j - i + 4 * n) % n];
      h.signs[i * h.order + j] = sign[i / n][j / n] * (entry == '+' ? 1 : -1);
    }
  return h;
}

SignMatrix doubled(const SignMatrix &matrix) {
  int64_t n = matrix.order;
  SignMatrix h{2 * n, std::vector<int8_t>(4 * n * n)};
  for (int64_t i = 0; i < 2 * n; ++i)
    for (int64_t j = 0; j < 2 * n; ++j)
      h.signs[i * 2 * n + j] =
          i >= n && j >= n ? -matrix(i - n, j - n) : matrix(i % n, j % n);
  return h;
}

Result<SignMatrix> baseMatrix(int64_t k) {
  switch (k) {
  case 1:
    return SignMatrix{1, {1}};
  case 12:
    return paleySecond(5);
  case 20:
    return williamson("+----", "+----", "++--+", "+-++-");
  case 28:
    return williamson("+------", "++----+", "+-+--+-", "+--++--");
  case 40: {
    Result<SignMatrix> half = paleyFirst(19);
    return half ? Result<SignMatrix>(doubled(*half)) : half;
  }
  default:
    return badShape("there is no base matrix of order " + std::to_string(k),
                    "the orders are 1, 12, 20, 28 and 40");
  }
}

//===----------------------------------------------------------------------===//
// Plans
//===----------------------------------------------------------------------===//

/// m where n = 2^m, else -1.
static int64_t getLog2(int64_t n) {
  if (n <= 0 || (n & (n - 1)) != 0)
    return -1;
  return __builtin_ctzll(n);
}

Result<HadamardPlan> HadamardPlan::create(int64_t size, int64_t base) {
  for (int64_t k : {1, 12, 20, 28, 40}) {
    if (base != 0 && k != base)
      continue;
    int64_t log2 = size > 0 && size % k == 0 ? compress::getLog2(size / k) : -1;
    if (log2 < 0)
      continue;
    Result<SignMatrix> matrix = baseMatrix(k);
    if (!matrix)
      return matrix.takeError();
    HadamardPlan plan;
    plan.base = matrix.take();
    plan.log2 = log2;
    return plan;
  }
  return badShape(
      "no Hadamard matrix of order " + std::to_string(size) +
          (base ? " with base " + std::to_string(base) : std::string()),
      "orders are 2^m, and 12, 20, 28 and 40 times 2^m");
}

Result<HadamardPlan> HadamardPlan::createBlockDiagonal(int64_t size) {
  int64_t best = 1;
  if (size > 0)
    for (int64_t k : {1, 12, 20, 28})
      if (size % k == 0)
        best = std::max(best, k * (int64_t(1) << __builtin_ctzll(size / k)));
  if (best == 1 && size != 1)
    return badShape("no Hadamard matrix fits a size of " + std::to_string(size),
                    "an odd size has no block larger than 1");
  Result<HadamardPlan> plan = create(best);
  if (plan)
    plan->blocks = size / best;
  return plan;
}

double HadamardPlan::at(int64_t i, int64_t j) const {
  int64_t order = getOrder();
  if (i / order != j / order)
    return 0;
  i %= order;
  j %= order;
  int64_t mask = (int64_t(1) << log2) - 1;
  int sign = base(i >> log2, j >> log2);
  if (__builtin_parityll(i & j & mask))
    sign = -sign;
  return sign / std::sqrt(double(order));
}

//===----------------------------------------------------------------------===//
// Transforms
//===----------------------------------------------------------------------===//

/// Sylvester's transform of n = 2^m points, each a run of `width` elements. Not
/// normalised.
template <typename T>
static void sylvester(T *__restrict x, int64_t n, int64_t width) {
  int64_t h = 1;
  // Two stages at a time.
  for (; 4 * h <= n; h *= 4) {
    int64_t run = h * width;
    for (int64_t i = 0; i < n * width; i += 4 * run)
      for (int64_t j = i; j < i + run; ++j) {
        T a = x[j], b = x[j + run], c = x[j + 2 * run], d = x[j + 3 * run];
        T ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
        x[j] = ab + cd;
        x[j + run] = a_b + c_d;
        x[j + 2 * run] = ab - cd;
        x[j + 3 * run] = a_b - c_d;
      }
  }
  if (h < n) {
    int64_t run = h * width;
    for (int64_t j = 0; j < run; ++j) {
      T a = x[j], b = x[j + run];
      x[j] = a + b;
      x[j + run] = a - b;
    }
  }
}

/// y_i = sum_k base(i, k) x_k, where x_k and y_i are runs of `run` elements.
template <typename T>
static void mixBlocks(const SignMatrix &base, Direction direction,
                      const T *__restrict x, T *__restrict y, int64_t run) {
  int64_t k = base.order;
  for (int64_t i = 0; i < k; ++i) {
    T *out = y + i * run;
    for (int64_t p = 0; p < k; ++p) {
      const T *in = x + p * run;
      int8_t sign = direction == Direction::Forward ? base(i, p) : base(p, i);
      if (p == 0)
        for (int64_t j = 0; j < run; ++j)
          out[j] = sign > 0 ? in[j] : -in[j];
      else if (sign > 0)
        for (int64_t j = 0; j < run; ++j)
          out[j] += in[j];
      else
        for (int64_t j = 0; j < run; ++j)
          out[j] -= in[j];
    }
  }
}

/// One block of `order` points of `width` elements each.
template <typename T>
static void transformBlock(const HadamardPlan &plan, T *x, int64_t width,
                           Direction direction, T *scratch) {
  int64_t k = plan.getBase(), points = int64_t(1) << plan.getLog2();
  int64_t total = plan.getOrder() * width;
  // The Sylvester part is symmetric.
  for (int64_t i = 0; i < k; ++i)
    sylvester(x + i * points * width, points, width);
  T scale = T(1 / std::sqrt(double(plan.getOrder())));
  if (k == 1) {
    for (int64_t j = 0; j < total; ++j)
      x[j] *= scale;
    return;
  }
  mixBlocks(plan.getBaseMatrix(), direction, x, scratch, points * width);
  for (int64_t j = 0; j < total; ++j)
    x[j] = scratch[j] * scale;
}

/// Vectors that are transformed side by side, so that the short strides of the
/// first stages are vectors too.
static constexpr int64_t kWidth = 16;

template <typename T>
void transform(const HadamardPlan &plan, T *x, int64_t count,
               Direction direction) {
  std::unique_ptr<T[]> scratch(plan.getBase() > 1 ? new T[plan.getOrder()]
                                                  : nullptr);
  for (int64_t i = 0; i < count * plan.getBlocks(); ++i)
    transformBlock(plan, x + i * plan.getOrder(), 1, direction, scratch.get());
}

template <typename T>
static Status checkView(const MatrixView<T> &w, int64_t size, int64_t wanted,
                        const char *side) {
  if (!w.isValid())
    return badShape("a matrix view has no valid extents");
  if (size != wanted)
    return badShape("a rotation of size " + std::to_string(wanted) +
                    " cannot be applied to " + std::to_string(size) + " " +
                    side);
  return Status::success();
}

template <typename T>
Status rotateInputs(const HadamardPlan &plan, MatrixView<T> w,
                    Direction direction, const ParallelFor &parallel) {
  if (Status status = checkView(w, w.cols, plan.getSize(), "columns"); !status)
    return status;
  int64_t panels = (w.rows + kWidth - 1) / kWidth, order = plan.getOrder();
  parallel(panels, [&](int64_t panel) {
    int64_t first = panel * kWidth, width = std::min(kWidth, w.rows - first);
    std::vector<T> buffer(order * kWidth), scratch(order * kWidth);
    for (int64_t block = 0; block < plan.getBlocks(); ++block) {
      T *start = w.row(first) + block * order;
      for (int64_t r = 0; r < width; ++r)
        for (int64_t j = 0; j < order; ++j)
          buffer[j * kWidth + r] = start[r * w.stride + j];
      transformBlock(plan, buffer.data(), kWidth, direction, scratch.data());
      for (int64_t r = 0; r < width; ++r)
        for (int64_t j = 0; j < order; ++j)
          start[r * w.stride + j] = buffer[j * kWidth + r];
    }
  });
  return Status::success();
}

template <typename T>
Status rotateOutputs(const HadamardPlan &plan, MatrixView<T> w,
                     Direction direction, const ParallelFor &parallel) {
  if (Status status = checkView(w, w.rows, plan.getSize(), "rows"); !status)
    return status;
  int64_t panels = (w.cols + kWidth - 1) / kWidth, order = plan.getOrder();
  parallel(panels, [&](int64_t panel) {
    int64_t first = panel * kWidth, width = std::min(kWidth, w.cols - first);
    std::vector<T> buffer(order * kWidth), scratch(order * kWidth);
    for (int64_t block = 0; block < plan.getBlocks(); ++block) {
      for (int64_t i = 0; i < order; ++i)
        std::copy_n(w.row(block * order + i) + first, width,
                    &buffer[i * kWidth]);
      transformBlock(plan, buffer.data(), kWidth, direction, scratch.data());
      for (int64_t i = 0; i < order; ++i)
        std::copy_n(&buffer[i * kWidth], width,
                    w.row(block * order + i) + first);
    }
  });
  return Status::success();
}

template <typename T> Status foldIntoInputs(MatrixView<T> w, Span<const T> g) {
  if (!w.isValid() || int64_t(g.size()) != w.cols)
    return badShape("a norm's weight of " + std::to_string(g.size()) +
                    " elements cannot be folded into " +
                    std::to_string(w.cols) + " columns");
  for (int64_t i = 0; i < w.rows; ++i)
    for (int64_t j = 0; j < w.cols; ++j)
      w(i, j) *= g[j];
  return Status::success();
}

#define EFFC_INSTANTIATE(T)                                                    \
  template void transform(const HadamardPlan &, T *, int64_t, Direction);      \
  template Status rotateInputs(const HadamardPlan &, MatrixView<T>, Direction, \
                               const ParallelFor &);                           \
  template Status rotateOutputs(const HadamardPlan &, MatrixView<T>,           \
                                Direction, const ParallelFor &);               \
  template Status foldIntoInputs(MatrixView<T>, Span<const T>);
EFFC_INSTANTIATE(float)
EFFC_INSTANTIATE(double)

} // namespace effc::compress
