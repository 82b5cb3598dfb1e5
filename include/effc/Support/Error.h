//===- Error.h - errors that users see --------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// An error says what, where, why and what to try, under a stable code.
/// Libraries return it as llvm::Error; passes emit it as a diagnostic whose
/// notes carry the same parts, so that the driver prints both alike.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_SUPPORT_ERROR_H
#define EFFC_SUPPORT_ERROR_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/Error.h"

#include <string>

namespace effc {

enum class ErrorCode : unsigned {
#define EFF_ERROR(name, number, meaning, hint) name = number,
#include "effc/Support/ErrorCodes.def"
};

/// "EFF0205".
std::string codeName(ErrorCode code);
/// What to try by default for a code.
llvm::StringRef defaultHint(ErrorCode code);

/// An error with all its parts; `where`, `why` and `hint` may be empty.
class UserError : public llvm::ErrorInfo<UserError> {
public:
  static char ID;
  UserError(ErrorCode code, std::string what, std::string where = {},
            std::string why = {}, std::string hint = {});

  void log(llvm::raw_ostream &os) const override;
  std::error_code convertToErrorCode() const override;

  ErrorCode code;
  std::string what, where, why, hint;
};

/// An llvm::Error that holds a UserError.
llvm::Error makeError(ErrorCode code, const llvm::Twine &what,
                      const llvm::Twine &where = {},
                      const llvm::Twine &why = {},
                      const llvm::Twine &hint = {});

/// Emits an error with a code at a location. Attach `why` and `hint` with
/// noteWhy and noteTry.
mlir::InFlightDiagnostic emitUserError(mlir::Location loc, ErrorCode code,
                                       const llvm::Twine &what);
/// Adds the reason to a diagnostic of emitUserError.
void noteWhy(mlir::InFlightDiagnostic &diagnostic, const llvm::Twine &why);
/// Adds what to try to a diagnostic of emitUserError.
void noteTry(mlir::InFlightDiagnostic &diagnostic, const llvm::Twine &hint);

/// Emits an llvm::Error of this kind (or any other) as a diagnostic at `loc`.
mlir::LogicalResult emit(mlir::Location loc, llvm::Error error);

/// Turns a diagnostic back into its parts; the location's name becomes `where`.
UserError fromDiagnostic(const mlir::Diagnostic &diagnostic);

} // namespace effc

#endif // EFFC_SUPPORT_ERROR_H
