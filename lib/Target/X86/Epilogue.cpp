//===- Epilogue.cpp - epilogues to LLVM IR
//----------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Epilogue.h"

#include "effc/Support/Error.h"
#include "effc/Target/X86/CompileKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/LLVMContext.h"

using namespace llvm;
namespace arith = mlir::arith;
namespace math = mlir::math;

namespace effc {

namespace {

constexpr unsigned kLanes = 16;

/// An epilogue's text, parsed and verified.
struct ParsedEpilogue {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp function;

  ParsedEpilogue() : context(mlir::MLIRContext::Threading::DISABLED) {}
  Error parse(StringRef text);
};

Error ParsedEpilogue::parse(StringRef text) {
  context.loadDialect<arith::ArithDialect, math::MathDialect,
                      mlir::func::FuncDialect>();
  std::string why;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &d) {
    if (why.empty())
      why = d.str();
    return mlir::success();
  });
  // The parser reads beyond a buffer that does not end in NUL.
  module = mlir::parseSourceString<mlir::ModuleOp>(
      text.str(), mlir::ParserConfig(&context));
  if (!module)
    return makeError(ErrorCode::CodeGen, "an epilogue does not parse", {}, why);
  function = module->lookupSymbol<mlir::func::FuncOp>("eff_epilogue");
  if (!function || function.isExternal() || !function.getBody().hasOneBlock())
    return makeError(ErrorCode::CodeGen,
                     "an epilogue has no function @eff_epilogue of one block");
  if (function.getNumArguments() < 1 || function.getNumResults() != 1 ||
      !function.getResultTypes()[0].isF32() ||
      !all_of(function.getArgumentTypes(),
              [](mlir::Type t) { return t.isF32(); }))
    return makeError(ErrorCode::CodeGen,
                     "an epilogue must map f32 scalars to one f32");
  return Error::success();
}

/// Emits one op after the other; every scalar is a vector of 16 lanes.
class EpilogueEmitter {
public:
  EpilogueEmitter(IRBuilder<> &builder, Module &module)
      : builder(builder), module(module) {}

  void bind(mlir::Value scalar, Value *vector) { values[scalar] = vector; }
  Value *lookup(mlir::Value scalar) const { return values.lookup(scalar); }
  /// Null when there is no code for the op.
  Value *emit(mlir::Operation &op);

private:
  Type *vectorType(mlir::Type type) {
    Type *element = type.isF32()   ? builder.getFloatTy()
                    : type.isF64() ? builder.getDoubleTy()
                                   : nullptr;
    if (auto integer = dyn_cast<mlir::IntegerType>(type))
      element = builder.getIntNTy(integer.getWidth());
    return element ? FixedVectorType::get(element, kLanes) : nullptr;
  }
  Value *operand(mlir::Operation &op, unsigned i) {
    return lookup(op.getOperand(i));
  }
  Value *constant(arith::ConstantOp op);
  Value *binary(mlir::Operation &op);
  Value *compare(mlir::Operation &op);
  Value *intrinsic(Intrinsic::ID id, mlir::Operation &op) {
    SmallVector<Value *, 3> arguments;
    for (mlir::Value v : op.getOperands())
      arguments.push_back(lookup(v));
    return builder.CreateIntrinsic(id, {arguments[0]->getType()}, arguments);
  }
  /// A call of the kernel library's function for 16 lanes.
  Value *call(StringRef name, mlir::Operation &op) {
    Type *vector = FixedVectorType::get(builder.getFloatTy(), kLanes);
    SmallVector<Value *, 2> arguments;
    SmallVector<Type *, 2> types;
    for (mlir::Value v : op.getOperands()) {
      if (lookup(v)->getType() != vector)
        return nullptr;
      arguments.push_back(lookup(v));
      types.push_back(vector);
    }
    FunctionCallee callee = module.getOrInsertFunction(
        ("eff_math_" + name).str(),
        FunctionType::get(vector, types, /*isVarArg=*/false));
    return builder.CreateCall(callee, arguments);
  }

  IRBuilder<> &builder;
  Module &module;
  DenseMap<mlir::Value, Value *> values;
};

} // namespace

Value *EpilogueEmitter::constant(arith::ConstantOp op) {
  Type *type = vectorType(op.getType());
  if (!type)
    return nullptr;
  Type *element = type->getScalarType();
  if (auto value = dyn_cast<mlir::FloatAttr>(op.getValue()))
    return ConstantVector::getSplat(ElementCount::getFixed(kLanes),
                                    ConstantFP::get(element, value.getValue()));
  if (auto value = dyn_cast<mlir::IntegerAttr>(op.getValue()))
    return ConstantVector::getSplat(
        ElementCount::getFixed(kLanes),
        ConstantInt::get(element, value.getValue()));
  return nullptr;
}

Value *EpilogueEmitter::binary(mlir::Operation &op) {
  std::optional<Instruction::BinaryOps> code =
      TypeSwitch<mlir::Operation *, std::optional<Instruction::BinaryOps>>(&op)
          .Case([](arith::AddFOp) { return Instruction::FAdd; })
          .Case([](arith::SubFOp) { return Instruction::FSub; })
          .Case([](arith::MulFOp) { return Instruction::FMul; })
          .Case([](arith::DivFOp) { return Instruction::FDiv; })
          .Case([](arith::AddIOp) { return Instruction::Add; })
          .Case([](arith::SubIOp) { return Instruction::Sub; })
          .Case([](arith::MulIOp) { return Instruction::Mul; })
          .Case([](arith::AndIOp) { return Instruction::And; })
          .Case([](arith::OrIOp) { return Instruction::Or; })
          .Case([](arith::XOrIOp) { return Instruction::Xor; })
          .Case([](arith::ShLIOp) { return Instruction::Shl; })
          .Case([](arith::ShRSIOp) { return Instruction::AShr; })
          .Case([](arith::ShRUIOp) { return Instruction::LShr; })
          .Default([](mlir::Operation *) { return std::nullopt; });
  return code ? builder.CreateBinOp(*code, operand(op, 0), operand(op, 1))
              : nullptr;
}

Value *EpilogueEmitter::compare(mlir::Operation &op) {
  if (auto cmp = dyn_cast<arith::CmpFOp>(op)) {
    // Both enumerations list the 16 sets of outcomes, in different orders.
    static constexpr CmpInst::Predicate kPredicates[] = {
        CmpInst::FCMP_FALSE, CmpInst::FCMP_OEQ, CmpInst::FCMP_OGT,
        CmpInst::FCMP_OGE,   CmpInst::FCMP_OLT, CmpInst::FCMP_OLE,
        CmpInst::FCMP_ONE,   CmpInst::FCMP_ORD, CmpInst::FCMP_UEQ,
        CmpInst::FCMP_UGT,   CmpInst::FCMP_UGE, CmpInst::FCMP_ULT,
        CmpInst::FCMP_ULE,   CmpInst::FCMP_UNE, CmpInst::FCMP_UNO,
        CmpInst::FCMP_TRUE};
    return builder.CreateFCmp(kPredicates[static_cast<int>(cmp.getPredicate())],
                              operand(op, 0), operand(op, 1));
  }
  if (auto cmp = dyn_cast<arith::CmpIOp>(op)) {
    static constexpr CmpInst::Predicate kPredicates[] = {
        CmpInst::ICMP_EQ,  CmpInst::ICMP_NE,  CmpInst::ICMP_SLT,
        CmpInst::ICMP_SLE, CmpInst::ICMP_SGT, CmpInst::ICMP_SGE,
        CmpInst::ICMP_ULT, CmpInst::ICMP_ULE, CmpInst::ICMP_UGT,
        CmpInst::ICMP_UGE};
    return builder.CreateICmp(kPredicates[static_cast<int>(cmp.getPredicate())],
                              operand(op, 0), operand(op, 1));
  }
  return nullptr;
}

Value *EpilogueEmitter::emit(mlir::Operation &op) {
  if (any_of(op.getOperands(), [&](mlir::Value v) { return !lookup(v); }))
    return nullptr;
  if (auto value = dyn_cast<arith::ConstantOp>(op))
    return constant(value);
  if (Value *value = binary(op))
    return value;
  if (Value *value = compare(op))
    return value;
  auto cast = [&](Instruction::CastOps code) -> Value * {
    Type *type = vectorType(op.getResult(0).getType());
    return type ? builder.CreateCast(code, operand(op, 0), type) : nullptr;
  };
  auto one = [&](double value) {
    return ConstantFP::get(operand(op, 0)->getType(), value);
  };
  return TypeSwitch<mlir::Operation *, Value *>(&op)
      .Case([&](arith::NegFOp) { return builder.CreateFNeg(operand(op, 0)); })
      .Case([&](arith::SelectOp) {
        return builder.CreateSelect(operand(op, 0), operand(op, 1),
                                    operand(op, 2));
      })
      .Case(
          [&](arith::MaximumFOp) { return intrinsic(Intrinsic::maximum, op); })
      .Case(
          [&](arith::MinimumFOp) { return intrinsic(Intrinsic::minimum, op); })
      .Case([&](arith::MaxNumFOp) { return intrinsic(Intrinsic::maxnum, op); })
      .Case([&](arith::MinNumFOp) { return intrinsic(Intrinsic::minnum, op); })
      .Case([&](arith::ExtFOp) { return cast(Instruction::FPExt); })
      .Case([&](arith::TruncFOp) { return cast(Instruction::FPTrunc); })
      .Case([&](arith::SIToFPOp) { return cast(Instruction::SIToFP); })
      .Case([&](arith::UIToFPOp) { return cast(Instruction::UIToFP); })
      .Case([&](arith::FPToSIOp) { return cast(Instruction::FPToSI); })
      .Case([&](arith::ExtUIOp) { return cast(Instruction::ZExt); })
      .Case([&](arith::ExtSIOp) { return cast(Instruction::SExt); })
      .Case([&](arith::TruncIOp) { return cast(Instruction::Trunc); })
      .Case([&](arith::BitcastOp) { return cast(Instruction::BitCast); })
      .Case([&](math::AbsFOp) { return intrinsic(Intrinsic::fabs, op); })
      .Case(
          [&](math::CopySignOp) { return intrinsic(Intrinsic::copysign, op); })
      .Case([&](math::FmaOp) { return intrinsic(Intrinsic::fmuladd, op); })
      .Case([&](math::SqrtOp) { return intrinsic(Intrinsic::sqrt, op); })
      .Case([&](math::RsqrtOp) {
        return builder.CreateFDiv(one(1.0), intrinsic(Intrinsic::sqrt, op));
      })
      .Case([&](math::FloorOp) { return intrinsic(Intrinsic::floor, op); })
      .Case([&](math::CeilOp) { return intrinsic(Intrinsic::ceil, op); })
      .Case([&](math::TruncOp) { return intrinsic(Intrinsic::trunc, op); })
      .Case([&](math::RoundEvenOp) {
        return intrinsic(Intrinsic::roundeven, op);
      })
      .Case([&](math::ExpOp) { return call("exp", op); })
      .Case([&](math::Exp2Op) { return call("exp2", op); })
      .Case([&](math::ExpM1Op) { return call("expm1", op); })
      .Case([&](math::LogOp) { return call("log", op); })
      .Case([&](math::Log2Op) { return call("log2", op); })
      .Case([&](math::Log10Op) { return call("log10", op); })
      .Case([&](math::Log1pOp) { return call("log1p", op); })
      .Case([&](math::TanhOp) { return call("tanh", op); })
      .Case([&](math::ErfOp) { return call("erf", op); })
      .Case([&](math::SinOp) { return call("sin", op); })
      .Case([&](math::CosOp) { return call("cos", op); })
      .Case([&](math::PowFOp) -> Value * {
        // Squares and cubes are common and cheap.
        auto exponent = op.getOperand(1).getDefiningOp<arith::ConstantOp>();
        auto value = exponent ? dyn_cast<mlir::FloatAttr>(exponent.getValue())
                              : mlir::FloatAttr();
        Value *x = operand(op, 0);
        if (value && value.getValueAsDouble() == 2.0)
          return builder.CreateFMul(x, x);
        if (value && value.getValueAsDouble() == 3.0)
          return builder.CreateFMul(builder.CreateFMul(x, x), x);
        return call("powf", op);
      })
      .Default([](mlir::Operation *) -> Value * { return nullptr; });
}

Error emitEpilogue(const KernelSpec &spec, Module &module) {
  LLVMContext &context = module.getContext();
  IRBuilder<> builder(context);
  auto *vector = FixedVectorType::get(builder.getFloatTy(), kLanes);
  auto *type = FunctionType::get(
      vector,
      {vector, builder.getInt64Ty(), builder.getInt64Ty(), builder.getPtrTy()},
      false);
  auto *function = Function::Create(type, GlobalValue::ExternalLinkage,
                                    "eff_epilogue", module);
  builder.SetInsertPoint(BasicBlock::Create(context, "entry", function));
  if (spec.epilogue.empty()) {
    builder.CreateRet(function->getArg(0));
    return Error::success();
  }

  ParsedEpilogue epilogue;
  if (Error error = epilogue.parse(spec.epilogue))
    return error;
  int64_t extras = epilogue.function.getNumArguments() - 1;
  if (extras != spec.get("extras"))
    return makeError(ErrorCode::CodeGen, "an epilogue has " + Twine(extras) +
                                             " extras, its kernel " +
                                             Twine(spec.get("extras")));

  FastMathFlags contract;
  contract.setAllowContract();
  builder.setFastMathFlags(contract);
  EpilogueEmitter emitter(builder, module);
  mlir::Block &body = epilogue.function.front();
  emitter.bind(body.getArgument(0), function->getArg(0));
  Value *row = function->getArg(1), *col = function->getArg(2);
  for (int64_t i = 0; i < extras; ++i) {
    Value *slot = builder.CreateConstInBoundsGEP1_64(builder.getPtrTy(),
                                                     function->getArg(3), i);
    Value *base = builder.CreateLoad(builder.getPtrTy(), slot);
    int64_t ld = spec.get(("extra" + Twine(i) + "_ld").str());
    Value *index = ld ? builder.CreateAdd(
                            builder.CreateMul(row, builder.getInt64(ld)), col)
                      : col;
    Value *address = builder.CreateGEP(builder.getFloatTy(), base, index);
    emitter.bind(body.getArgument(i + 1),
                 builder.CreateAlignedLoad(vector, address, Align(4)));
  }
  for (mlir::Operation &op : body.without_terminator()) {
    Value *value = emitter.emit(op);
    if (!value)
      return makeError(ErrorCode::CodeGen, "no vector code for '" +
                                               op.getName().getStringRef() +
                                               "' in an epilogue");
    emitter.bind(op.getResult(0), value);
  }
  Value *result = emitter.lookup(body.getTerminator()->getOperand(0));
  builder.CreateRet(result);
  return Error::success();
}

Error checkEpilogue(StringRef text) {
  KernelSpec spec;
  spec.epilogue = text.str();
  if (!text.empty()) {
    ParsedEpilogue epilogue;
    if (Error error = epilogue.parse(text))
      return error;
    spec.set("extras", epilogue.function.getNumArguments() - 1);
  }
  LLVMContext context;
  Module module("check", context);
  return emitEpilogue(spec, module);
}

} // namespace effc
