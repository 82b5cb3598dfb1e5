//===- ProgramBuilder.h - one entry point becomes a program -----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_EFFTOPLAN_PROGRAMBUILDER_H
#define EFFC_LIB_CONVERSION_EFFTOPLAN_PROGRAMBUILDER_H

#include "Kernels.h"
#include "Places.h"

#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/Plan/Plan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace effc {

/// A tensor as an operand of a kernel.
struct Matrix {
  mlir::Value ref;
  int64_t rows, columns, ld;
};

/// Predicted work of a step.
struct Cost {
  int64_t flops = 0, bytes = 0;
};

/// Builds the program of one entry function, op by op in their order.
class ProgramBuilder {
public:
  ProgramBuilder(mlir::func::FuncOp func, Kernels &kernels,
                 mlir::SymbolTable &symbols);
  /// Errors are diagnostics.
  mlir::LogicalResult build();

  struct Summary {
    int64_t steps = 0, generics = 0, copies = 0;
    /// Names of the ops that took the generic way, and how many there were.
    llvm::MapVector<mlir::OperationName, int64_t> genericOps;
  };
  const Summary &getSummary() const { return summary; }
  plan::ProgramOp getProgram() { return program; }

private:
  // One op (ProgramBuilder.cpp).
  void openProgram();
  void findOutputs(mlir::func::ReturnOp ret);
  mlir::LogicalResult convert(mlir::Operation *op);
  mlir::LogicalResult convertKernel(mlir::Operation *op);
  mlir::LogicalResult finish(mlir::func::ReturnOp ret);

  // Linears and what surrounds them (LinearSteps.cpp, NormSteps.cpp).
  mlir::LogicalResult convert(eff::EmbedOp op);
  mlir::LogicalResult convert(eff::PositionEmbedOp op);
  mlir::LogicalResult convert(eff::LinearOp op);
  mlir::LogicalResult convert(eff::Conv2DOp op);
  mlir::LogicalResult convert(eff::QuantizeOp op);
  mlir::LogicalResult convert(eff::QuantizeStaticOp op);
  mlir::LogicalResult convert(eff::TensorScaleOp op);
  mlir::LogicalResult convert(eff::DequantizeOp op);
  mlir::LogicalResult convert(eff::HadamardOp op);
  mlir::LogicalResult convert(eff::SelectRowsOp op);
  mlir::LogicalResult convert(eff::SampleOp op);
  mlir::LogicalResult convert(eff::RmsNormOp op);
  mlir::LogicalResult convert(eff::LayerNormOp op);
  mlir::LogicalResult convert(eff::GatedNormOp op);

  // Ops that mix tokens (MixerSteps.cpp).
  mlir::LogicalResult convert(eff::AttentionOp op);
  mlir::LogicalResult convert(eff::CacheAppendOp op);
  mlir::LogicalResult convert(eff::RopeOp op);
  mlir::LogicalResult convert(eff::CausalConv1DOp op);
  mlir::LogicalResult convert(eff::SsdScanOp op);
  mlir::LogicalResult convert(eff::SsmScanOp op);

  // Images, collapsed scans (ImageSteps.cpp).
  mlir::LogicalResult convert(eff::DepthwiseConv2DOp op);
  mlir::LogicalResult convert(eff::CrossScanOp op);
  mlir::LogicalResult convert(eff::CrossMergeOp op);
  mlir::LogicalResult convert(eff::CollapseChannelsOp op);
  mlir::LogicalResult convert(eff::CollapsedScanOp op);
  mlir::LogicalResult convert(eff::ExpandChannelsOp op);

  // Views (ProgramBuilder.cpp).
  mlir::LogicalResult convertView(mlir::Operation *op);
  std::optional<Place> getView(mlir::Operation *op, const Place &source);

  // Places and references (ProgramBuilder.cpp).
  /// Adds references behind the others, before the first step.
  mlir::OpBuilder &atRefs();
  Place getPlace(mlir::Value value);
  /// The place that a result is computed into: an output, or a new buffer.
  Place allocate(mlir::Value value);
  mlir::Value createBuffer(int64_t bytes);
  Place makeContiguous(const Place &place);
  void copy(const Place &from, const Place &to);
  /// The same between contiguous places of any length.
  void copyBytes(const Place &from, const Place &to);
  mlir::Value getRef(const Place &place);
  Matrix getMatrix(mlir::Value value);
  Matrix allocateMatrix(mlir::Value value);
  /// The reference of a weight, state or cache; an absent operand for null.
  mlir::Value getResource(mlir::Value value);
  mlir::Value getNull();
  /// The constant `rows` of a kernel: 0 when the rows are those of
  /// eff.select_rows.
  int64_t getRows(mlir::Value value, int64_t rows);
  void addStep(mlir::Operation *op, llvm::StringRef family, Constants constants,
               llvm::ArrayRef<mlir::Value> operands, Cost cost);
  void addStep(mlir::Operation *op, llvm::StringRef family, Constants constants,
               mlir::Region &epilogue, llvm::ArrayRef<mlir::Value> operands,
               Cost cost);
  Cost getCost(mlir::Operation *op);

  // Int8 operands and results (Folding.cpp).
  using ConstantList =
      llvm::SmallVectorImpl<std::pair<llvm::StringRef, int64_t>>;
  /// An operand as a kernel reads it: its values, or codes and their scales.
  struct Reading {
    Matrix matrix;
    bool isInt8;
    mlir::Value scale;
    bool isEach;
  };
  Reading getReading(mlir::OpOperand &use);
  /// Where a kernel writes its result: values, or codes of the static scales
  /// that it reads (quant 1) or of the dynamic ones that it writes (2).
  struct Writing {
    Matrix matrix;
    int64_t quant;
    mlir::Value scale;
    bool isEach;
  };
  Writing getWriting(mlir::Value result);
  /// For kernels without dynamic scales.
  Writing getStaticWriting(mlir::Value result);
  static void addQuantization(ConstantList &constants, const Writing &writing);
  static void addReading(ConstantList &constants, const Reading &reading,
                         llvm::StringRef isInt8, llvm::StringRef isEach);
  /// What a kernel reads of an operand: the codes instead of the values that
  /// they stand for.
  static mlir::Value getSource(mlir::OpOperand &use);
  /// Whether other steps do the work of an op.
  bool isDone(mlir::Operation *op);
  /// Whether static scales differ from one feature to the next.
  static bool hasScaleEach(mlir::Value scale);

  // Generic code (GenericCode.cpp).
  struct Group {
    llvm::SmallVector<mlir::Operation *> ops;
  };
  mlir::LogicalResult addGeneric(mlir::Operation *op);
  mlir::LogicalResult closeGroups(mlir::ValueRange values);
  /// With `isWanted`, all results are given out.
  mlir::LogicalResult emitGroup(Group *group, bool isWanted = false);
  /// Declares a constant as a weight.
  mlir::LogicalResult placeConstant(mlir::Value value);

  mlir::func::FuncOp func;
  Kernels &kernels;
  mlir::SymbolTable &symbols;
  plan::ProgramOp program;
  mlir::OpBuilder refs;
  mlir::Operation *lastRef = nullptr;
  /// Adds steps and views.
  mlir::OpBuilder steps;
  llvm::DenseMap<mlir::Value, Place> places;
  llvm::DenseMap<mlir::Value, plan::OutputOp> outputs;
  llvm::MapVector<mlir::Attribute, mlir::Value> resources;
  llvm::DenseSet<mlir::Value> selected;
  /// Ops that a step before them computes.
  llvm::DenseSet<mlir::Operation *> done;
  mlir::Value null;
  std::vector<std::unique_ptr<Group>> groups;
  llvm::DenseMap<mlir::Operation *, Group *> groupOf;
  Summary summary;
};

} // namespace effc

#endif // EFFC_LIB_CONVERSION_EFFTOPLAN_PROGRAMBUILDER_H
