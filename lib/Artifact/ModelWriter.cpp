//===- ModelWriter.cpp - from plans to a model file -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Artifact/ModelWriter.h"

#include "KernelJobs.h"
#include "Link.h"
#include "Manifest.h"
#include "ModelLayout.h"
#include "Tables.h"
#include "WeightStream.h"

#include "effc/Dialect/Plan/Families.h"
#include "effc/Support/Error.h"
#include "effc/Target/Generic/CompileGeneric.h"
#include "effrt/effrt.h"
#include "effrt/elf_image.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"

#include <chrono>

using namespace effc;

namespace {
/// A file under a temporary name beside its final one; removed unless it is
/// kept, also when a signal ends the process.
class PartFile {
public:
  static llvm::Expected<PartFile> create(llvm::StringRef output);
  PartFile(PartFile &&other) noexcept
      : path(std::move(other.path)), output(std::move(other.output)) {
    other.path.clear();
  }
  ~PartFile() {
    if (path.empty())
      return;
    (void)llvm::sys::fs::remove(path);
    llvm::sys::DontRemoveFileOnSignal(path);
  }
  llvm::StringRef getPath() const { return path; }
  /// Gives the file its final name.
  llvm::Error keep();

private:
  PartFile(std::string path, std::string output)
      : path(std::move(path)), output(std::move(output)) {}
  std::string path, output;
};

/// Seconds since it was made.
class Watch {
public:
  double get() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  }

private:
  std::chrono::steady_clock::time_point start =
      std::chrono::steady_clock::now();
};
} // namespace

static llvm::Error cannotWrite(llvm::StringRef path, std::error_code code) {
  return makeError(ErrorCode::CannotWrite, "the model file cannot be written",
                   path, code.message());
}

llvm::Expected<PartFile> PartFile::create(llvm::StringRef output) {
  if (llvm::sys::fs::is_directory(output))
    return cannotWrite(output, std::make_error_code(std::errc::is_a_directory));
  llvm::SmallString<128> path;
  int fd = -1;
  if (std::error_code code =
          llvm::sys::fs::createUniqueFile(output + ".%%%%%%%%.part", fd, path))
    return cannotWrite(output, code);
  llvm::sys::RemoveFileOnSignal(path);
  llvm::sys::fs::file_t file = llvm::sys::fs::convertFDToNativeFile(fd);
  (void)llvm::sys::fs::closeFile(file);
  return PartFile(std::string(path), output.str());
}

llvm::Error PartFile::keep() {
  if (std::error_code code = llvm::sys::fs::rename(path, output))
    return cannotWrite(output, code);
  llvm::sys::DontRemoveFileOnSignal(path);
  path.clear();
  return llvm::Error::success();
}

/// An error of the runtime library as one of ours.
static llvm::Error toError(const effrt::Status &status) {
  if (status.ok())
    return llvm::Error::success();
  const effrt::Error &error = status.error();
  unsigned number = 0;
  llvm::StringRef code = error.code;
  if (!code.consume_front("EFF") || code.getAsInteger(10, number))
    number = static_cast<unsigned>(ErrorCode::CannotWrite);
  return makeError(static_cast<ErrorCode>(number), error.what, error.where,
                   error.why, error.tryThis);
}

static ModelReport createReport(const ModelLayout &layout) {
  ModelReport report;
  for (plan::ProgramOp program : layout.programs) {
    EntryReport entry{program.getSymName().str(),
                      program.getEntry().getBatch(),
                      program.getEntry().getTokens(),
                      0,
                      static_cast<uint64_t>(*program.getArena()),
                      0,
                      0,
                      0};
    for (plan::StepOp step : program.getBody().getOps<plan::StepOp>()) {
      ++entry.steps;
      entry.flops += step.getFlops();
      if (isInteger(layout.kernelsByName.lookup(step.getKernel())))
        entry.integerOps += step.getFlops();
      entry.bytes += step.getBytes();
    }
    report.entries.push_back(entry);
  }
  for (const PlacedWeight &weight : layout.weights) {
    eff::WeightOp op = weight.op;
    report.bytesByFormat[getFormatName(op.getType())] += weight.bytes;
    report.parameters += op.getType().getNumElements();
  }
  report.weightBytes = layout.weightBytes;
  return report;
}

/// Compiles everything and writes it into a directory; the paths, tables last.
static llvm::Expected<std::vector<std::string>>
compileInto(const ModelLayout &layout, const WriteOptions &options,
            llvm::StringRef directory, ModelReport &report,
            std::vector<Variant> &variants) {
  llvm::Expected<std::vector<CompiledKernel>> kernels =
      compileKernels(layout, options);
  if (!kernels)
    return kernels.takeError();
  for (const X86Machine &machine : options.targets)
    variants.push_back({machine, 0});
  std::vector<std::string> paths;
  auto write = [&](const std::string &name, llvm::ArrayRef<char> bytes) {
    llvm::SmallString<128> path(directory);
    llvm::sys::path::append(path, name + ".o");
    paths.push_back(std::string(path));
    return writeFile(path, bytes);
  };
  for (auto [index, kernel] : llvm::enumerate(*kernels)) {
    size_t target = index / layout.kernels.size();
    variants[target].features |= kernel.features;
    KernelReport entry =
        describeKernel(layout.kernels[index % layout.kernels.size()]);
    entry.target = options.targets[target].name();
    entry.bytes = kernel.object.size();
    report.kernels.push_back(std::move(entry));
    if (llvm::Error error = write(kernel.symbol, kernel.object))
      return error;
  }
  llvm::Expected<llvm::SmallVector<char, 0>> tables =
      emitTables(layout, variants);
  if (!tables)
    return tables.takeError();
  if (llvm::Error error = write("tables", *tables))
    return error;
  return paths;
}

/// Appends manifest and weights to the linked code and seals the file.
static llvm::Error finish(const ModelLayout &layout,
                          const WriteOptions &options, llvm::StringRef path,
                          std::string manifest, ModelReport &report) {
  // What goes wrong inside is ours; the library only hears that something did.
  llvm::Error packing = llvm::Error::success();
  effrt::NewSection weights;
  weights.name = EFF_SECTION_WEIGHTS;
  weights.size = layout.weightBytes;
  weights.align = effrt::kPageBytes;
  weights.write = [&](int fd, uint64_t offset) -> effrt::Status {
    llvm::Error error =
        streamWeights(layout, options, fd, offset, report.warnings);
    if (!error)
      return effrt::Status::success();
    packing = llvm::joinErrors(std::move(packing), std::move(error));
    return effrt::makeError("EFF0103", "the weights cannot be written");
  };
  effrt::Status status =
      effrt::finishModel(path.str(), std::move(manifest), std::move(weights));
  if (packing)
    return packing;
  return toError(status);
}

/// Sizes of the finished file.
static llvm::Error measure(llvm::StringRef path, ModelReport &report) {
  if (std::error_code code = llvm::sys::fs::file_size(path, report.fileBytes))
    return cannotWrite(path, code);
  return llvm::Error::success();
}

static llvm::Error checkTokenizer(const WriteOptions &options) {
  if (options.tokenizer.empty())
    return llvm::Error::success();
  llvm::Expected<llvm::json::Value> value =
      llvm::json::parse(options.tokenizer);
  if (value && value->getAsObject())
    return llvm::Error::success();
  std::string why =
      value ? "it is no JSON object" : llvm::toString(value.takeError());
  return makeError(ErrorCode::BadTokenizer, "the tokenizer cannot be read", {},
                   why);
}

llvm::Expected<ModelReport> effc::writeModel(mlir::ModuleOp module,
                                             const WriteOptions &options) {
  if (options.targets.empty())
    return makeError(ErrorCode::BadTarget, "no target was given");
  if (llvm::Error error = checkTokenizer(options))
    return error;
  llvm::Expected<ModelLayout> layout = ModelLayout::create(module);
  if (!layout)
    return layout.takeError();
  // Before any work: whether the file can be written at all.
  llvm::Expected<PartFile> part = PartFile::create(options.output);
  if (!part)
    return part.takeError();
  llvm::Expected<ObjectDirectory> directory = ObjectDirectory::create();
  if (!directory)
    return directory.takeError();

  ModelReport report = createReport(*layout);
  std::vector<Variant> variants;
  Watch kernels;
  llvm::Expected<std::vector<std::string>> objects =
      compileInto(*layout, options, directory->getPath(), report, variants);
  if (!objects)
    return objects.takeError();
  report.kernelSeconds = kernels.get();

  Watch link;
  if (options.progress)
    options.progress({WriteProgress::Link, 0, objects->size()});
  if (llvm::Error error = linkObjects(*objects, kModelSymbol, part->getPath()))
    return error;
  report.linkSeconds = link.get();
  if (std::error_code code =
          llvm::sys::fs::file_size(part->getPath(), report.codeBytes))
    return cannotWrite(options.output, code);

  Watch weights;
  llvm::Expected<std::string> manifest =
      createManifest(*layout, variants, options, report);
  if (!manifest)
    return manifest.takeError();
  if (llvm::Error error = finish(*layout, options, part->getPath(),
                                 std::move(*manifest), report))
    return error;
  report.weightSeconds = weights.get();

  if (!options.runner.empty()) {
    llvm::Expected<PartFile> program = PartFile::create(options.output);
    if (!program)
      return program.takeError();
    if (std::error_code code =
            llvm::sys::fs::copy_file(options.runner, program->getPath()))
      return makeError(ErrorCode::FileNotFound, "the runner cannot be copied",
                       options.runner, code.message());
    if (llvm::Error error = toError(
            effrt::embedModel(program->getPath().str(), part->getPath().str())))
      return error;
    if (std::error_code code = llvm::sys::fs::setPermissions(
            program->getPath(), llvm::sys::fs::all_read |
                                    llvm::sys::fs::all_exe |
                                    llvm::sys::fs::owner_write))
      return makeError(ErrorCode::CannotWrite, "cannot make a file executable",
                       program->getPath(), code.message());
    if (llvm::Error error = program->keep())
      return error;
  } else if (llvm::Error error = part->keep()) {
    return error;
  }
  if (llvm::Error error = measure(options.output, report))
    return error;
  return report;
}

llvm::Expected<std::string> effc::printCode(mlir::ModuleOp module,
                                            const X86Machine &target,
                                            CodeText kind) {
  std::string text;
  for (mlir::Operation &op : *module.getBody()) {
    llvm::Expected<std::string> code = std::string();
    if (auto kernel = llvm::dyn_cast<plan::KernelOp>(op))
      code = printKernel(plan::getSpec(kernel), target, kernel.getSymName(),
                         kind == CodeText::LLVMIR ? KernelText::LLVMIR
                                                  : KernelText::Assembly);
    else if (auto generic = llvm::dyn_cast<plan::GenericOp>(op))
      code = printGenericCode(printGeneric(generic), target,
                              generic.getSymName(), kind == CodeText::LLVMIR);
    if (!code)
      return code.takeError();
    text += *code;
  }
  return text;
}

llvm::Error effc::writeObjects(mlir::ModuleOp module,
                               const WriteOptions &options,
                               llvm::StringRef directory) {
  llvm::Expected<ModelLayout> layout = ModelLayout::create(module);
  if (!layout)
    return layout.takeError();
  if (std::error_code code = llvm::sys::fs::create_directories(directory))
    return cannotWrite(directory, code);
  ModelReport report;
  std::vector<Variant> variants;
  return compileInto(*layout, options, directory, report, variants).takeError();
}
