//===- Error.cpp - errors that users see ----------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Support/Error.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/Support/FormatVariadic.h"

using namespace effc;

char UserError::ID = 0;

namespace {
struct CodeInfo {
  ErrorCode code;
  const char *hint;
};
constexpr CodeInfo codes[] = {
#define EFF_ERROR(name, number, meaning, hint) {ErrorCode::name, hint},
#include "effc/Support/ErrorCodes.def"
};

constexpr llvm::StringLiteral whyPrefix = "why: ";
constexpr llvm::StringLiteral tryPrefix = "try: ";

/// The node name that a location carries; for fused locations the first one
/// found.
std::string nameOf(mlir::Location loc) {
  std::string name;
  loc->walk([&](mlir::Location l) {
    if (auto named = llvm::dyn_cast<mlir::NameLoc>(l)) {
      name = named.getName().str();
      return mlir::WalkResult::interrupt();
    }
    if (auto file = llvm::dyn_cast<mlir::FileLineColLoc>(l))
      name = llvm::formatv("{0}:{1}:{2}", file.getFilename().getValue(),
                           file.getLine(), file.getColumn());
    return mlir::WalkResult::advance();
  });
  return name;
}
} // namespace

std::string effc::codeName(ErrorCode code) {
  return llvm::formatv("EFF{0,0+4}", static_cast<unsigned>(code)).str();
}

llvm::StringRef effc::defaultHint(ErrorCode code) {
  for (const CodeInfo &info : codes)
    if (info.code == code)
      return info.hint;
  return {};
}

UserError::UserError(ErrorCode code, std::string what, std::string where,
                     std::string why, std::string hint)
    : code(code), what(std::move(what)), where(std::move(where)),
      why(std::move(why)), hint(std::move(hint)) {
  if (this->hint.empty())
    this->hint = defaultHint(code).str();
}

void UserError::log(llvm::raw_ostream &os) const {
  os << "error " << codeName(code) << ": " << what << "\n";
  if (!where.empty())
    os << "  where: " << where << "\n";
  if (!why.empty())
    os << "  why: " << why << "\n";
  if (!hint.empty())
    os << "  try: " << hint << "\n";
}

std::error_code UserError::convertToErrorCode() const {
  return llvm::inconvertibleErrorCode();
}

llvm::Error effc::makeError(ErrorCode code, const llvm::Twine &what,
                            const llvm::Twine &where, const llvm::Twine &why,
                            const llvm::Twine &hint) {
  return llvm::make_error<UserError>(code, what.str(), where.str(), why.str(),
                                     hint.str());
}

mlir::InFlightDiagnostic effc::emitUserError(mlir::Location loc, ErrorCode code,
                                             const llvm::Twine &what) {
  return mlir::emitError(loc) << codeName(code) << ": " << what;
}

void effc::noteWhy(mlir::InFlightDiagnostic &diagnostic,
                   const llvm::Twine &why) {
  diagnostic.attachNote() << whyPrefix << why;
}

void effc::noteTry(mlir::InFlightDiagnostic &diagnostic,
                   const llvm::Twine &hint) {
  diagnostic.attachNote() << tryPrefix << hint;
}

mlir::LogicalResult effc::emit(mlir::Location loc, llvm::Error error) {
  llvm::handleAllErrors(
      std::move(error),
      [&](const UserError &e) {
        mlir::Location at =
            e.where.empty()
                ? loc
                : mlir::NameLoc::get(
                      mlir::StringAttr::get(loc.getContext(), e.where), loc);
        auto diagnostic = emitUserError(at, e.code, e.what);
        if (!e.why.empty())
          noteWhy(diagnostic, e.why);
        if (!e.hint.empty())
          noteTry(diagnostic, e.hint);
      },
      [&](const llvm::ErrorInfoBase &e) {
        mlir::emitError(loc) << e.message();
      });
  return mlir::failure();
}

UserError effc::fromDiagnostic(const mlir::Diagnostic &diagnostic) {
  std::string text = diagnostic.str();
  llvm::StringRef rest = text;
  ErrorCode code = ErrorCode::CodeGen;
  unsigned number = 0;
  if (rest.consume_front("EFF") && !rest.consumeInteger(10, number) &&
      rest.consume_front(": "))
    code = static_cast<ErrorCode>(number);
  else
    rest = text;
  std::string why, hint;
  for (const mlir::Diagnostic &note : diagnostic.getNotes()) {
    std::string line = note.str();
    llvm::StringRef ref = line;
    if (ref.consume_front(whyPrefix))
      why += (why.empty() ? "" : "; ") + ref.str();
    else if (ref.consume_front(tryPrefix))
      hint = ref.str();
  }
  return UserError(code, rest.str(), nameOf(diagnostic.getLocation()), why,
                   hint);
}
