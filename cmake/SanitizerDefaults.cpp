//===- SanitizerDefaults.cpp - defaults of AddressSanitizer ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

/// The packaged LLVM is not instrumented: what it allocates for the annotated
/// containers of instrumented code would look poisoned, and what it keeps for
/// the life of the process like leaks.
// NOLINTBEGIN(bugprone-reserved-identifier): sanitizers look for this name
extern "C" const char *__asan_default_options();
extern "C" __attribute__((visibility("default"), used)) const char *
__asan_default_options() {
  return "allow_user_poisoning=0:detect_container_overflow=0:detect_leaks=0";
}
// NOLINTEND(bugprone-reserved-identifier)
