//===- Targets.h - what reads files of strangers ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Each target takes the bytes of a file whatever they are and ends in a result
/// or in an error that says something. It calls abort() when that promise is
/// broken: by an error without code or text, or a module that does not verify.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_FUZZ_TARGETS_H
#define EFFC_UNITTESTS_FUZZ_TARGETS_H

#include <string>
#include <vector>

namespace effc::fuzz {

/// A directory in memory, where there is one, that goes with the object.
class Scratch {
public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch &) = delete;
  std::string file(const std::string &name) const { return path + "/" + name; }

private:
  std::string path;
  long owner; ///< A fork of the process leaves the directory alone.
};

enum class Kind { Onnx, Tokenizer, Model };

/// The kind of a file by the end of its name: .onnx, .json, .eff.
bool kindOf(const std::string &path, Kind &kind);

/// Whether the bytes were accepted. Weights of an ONNX model are looked for in
/// `scratch`.
bool tryOnnx(const std::string &bytes, const Scratch &scratch);
bool tryTokenizer(const std::string &bytes);
/// Opens the file twice, as it is and with checksums that fit. Nothing of it is
/// run.
bool tryModel(const std::string &bytes, const Scratch &scratch);
/// Compiles a model for this machine.
bool compileExample(const std::string &onnx, const std::string &output);
bool tryFile(Kind kind, const std::string &bytes, const Scratch &scratch);

std::string readFile(const std::string &path);
void writeFile(const std::string &path, const std::string &bytes);

} // namespace effc::fuzz

#endif // EFFC_UNITTESTS_FUZZ_TARGETS_H
