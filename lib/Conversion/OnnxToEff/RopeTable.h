//===- RopeTable.h - rotary tables by their numbers -------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_ROPETABLE_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_ROPETABLE_H

#include "Emitter.h"

namespace effc::raise {

/// Rows of cosines and sines at known positions: `cos[row * pairs + i] = scale
/// cos(position[row] f_i)`.
struct RopeTable {
  std::vector<double> cos, sin;
  std::vector<int64_t> positions;
  int64_t pairs = 0;
  /// Of one entry, by the type the table is stored in.
  double rounding = 6e-8;

  /// Whether these frequencies make the table.
  bool madeBy(llvm::ArrayRef<double> frequencies, double scale) const;
};

struct RopeFrequencies {
  std::vector<double> values;
  double scale = 1;
};

/// Finds the frequencies of a table; nullopt, with the reason, when it is not
/// one. `theta` is the base that the model's configuration names, or 0.
std::optional<RopeFrequencies>
recoverFrequencies(const RopeTable &table, double theta, std::string &reason);

/// A table and what makes it.
struct Rope {
  RopeTable table;
  RopeFrequencies frequencies;
};

/// The table of constants `cos` and `sin` whose last dimension holds the pairs
/// once, or twice (the two halves equal), and whose other dimensions hold
/// `positions` along `axis` and the same everywhere else. Null, with the
/// reason, when it is none. Looks at a table once, however many layers use it.
std::shared_ptr<const Rope> findRope(Graph &graph, Value cos, Value sin,
                                     unsigned axis,
                                     llvm::ArrayRef<int64_t> positions,
                                     std::string &reason);

/// eff.rope of `[batch, tokens, heads * width]`.
Value emitRope(Emitter &emitter, Value x, int64_t heads, bool interleaved,
               const Rope &rope);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_ROPETABLE_H
