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
#include <map>
#include <mutex>
#include <set>
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
  // A kind without a filter of its own is off, whatever `all` says.
  categories.passed = categories.missed = categories.analysis =
      categories.failed = ".*";
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

llvm::json::Array
effc::describeDecisions(const std::vector<Decision> &decisions) {
  struct Group {
    const Decision *first;
    llvm::json::Array keys, rows;
    std::set<std::vector<std::string>> seen;
  };
  std::map<std::vector<std::string>, Group> groups;
  for (const Decision &decision : decisions) {
    std::vector<std::string> id{decision.pass, decision.name, decision.kind};
    std::vector<std::string> row{decision.where};
    for (const auto &[key, value] : decision.values) {
      id.push_back(key);
      row.push_back(value);
    }
    Group &group = groups[id];
    if (group.keys.empty() && group.rows.empty()) {
      group.first = &decision;
      for (size_t i = 3; i < id.size(); ++i)
        group.keys.push_back(id[i]);
    }
    if (group.seen.insert(row).second)
      group.rows.push_back(llvm::json::Array(row));
  }
  llvm::json::Array result;
  for (auto &[id, group] : groups)
    result.push_back(llvm::json::Object{{"pass", group.first->pass},
                                        {"name", group.first->name},
                                        {"kind", group.first->kind},
                                        {"keys", std::move(group.keys)},
                                        {"rows", std::move(group.rows)}});
  return result;
}
