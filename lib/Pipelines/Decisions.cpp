//===- Decisions.cpp - collects what passes decided
//-------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Decisions.h"

#include "mlir/IR/Location.h"
#include "mlir/IR/Remarks.h"

#include <algorithm>
#include <mutex>
#include <tuple>

using namespace effc;

namespace {

/// The first name in a location: the ONNX node's.
std::string placeOf(mlir::Location loc) {
  std::string place;
  loc->walk([&](mlir::Location l) {
    if (auto name = llvm::dyn_cast<mlir::NameLoc>(l)) {
      place = name.getName().str();
      return mlir::WalkResult::interrupt();
    }
    return mlir::WalkResult::advance();
  });
  return place;
}

class Collector : public mlir::remark::detail::MLIRRemarkStreamerBase {
public:
  explicit Collector(std::vector<Decision> &decisions) : decisions(decisions) {}

  void streamOptimizationRemark(
      const mlir::remark::detail::Remark &remark) override {
    Decision decision;
    decision.pass = remark.getCategoryName().str();
    decision.name = remark.getRemarkName().str();
    decision.kind = remark.getRemarkTypeString().str();
    decision.where = placeOf(remark.getLocation());
    if (decision.where.empty())
      decision.where = remark.getFunction().str();
    for (const auto &arg : remark.getArgs())
      decision.values.emplace_back(arg.key, arg.val);
    std::lock_guard<std::mutex> lock(mutex);
    decisions.push_back(std::move(decision));
  }

private:
  std::mutex mutex;
  std::vector<Decision> &decisions;
};

} // namespace

mlir::LogicalResult effc::collectDecisions(mlir::MLIRContext &context,
                                           std::vector<Decision> &decisions) {
  mlir::remark::RemarkCategories categories;
  categories.all = ".*";
  return mlir::remark::enableOptimizationRemarks(
      context, std::make_unique<Collector>(decisions),
      std::make_unique<mlir::remark::RemarkEmittingPolicyAll>(), categories);
}

void effc::sortDecisions(std::vector<Decision> &decisions) {
  llvm::sort(decisions, [](const Decision &a, const Decision &b) {
    return std::tie(a.pass, a.where, a.name, a.kind, a.values) <
           std::tie(b.pass, b.where, b.name, b.kind, b.values);
  });
}
