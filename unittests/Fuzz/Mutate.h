//===- Mutate.h - damaged copies of files -----------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_FUZZ_MUTATE_H
#define EFFC_UNITTESTS_FUZZ_MUTATE_H

#include "Targets.h"

#include <random>
#include <string>

namespace effc::fuzz {

using Random = std::mt19937_64;

/// A few bytes or ranges changed, inserted, removed, or the end cut off.
std::string mutateBytes(std::string bytes, Random &random);
/// A model whose fields were changed one by one: numbers, names, elements of
/// lists removed, doubled and exchanged. Bytes that are no model are mutated as
/// bytes.
std::string mutateOnnx(const std::string &bytes, Random &random);
/// The same for values of a JSON text.
std::string mutateJson(const std::string &bytes, Random &random);
/// Either way, as the kind has it.
std::string mutate(Kind kind, const std::string &bytes, Random &random);

} // namespace effc::fuzz

#endif // EFFC_UNITTESTS_FUZZ_MUTATE_H
