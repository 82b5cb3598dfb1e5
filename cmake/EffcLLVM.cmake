# LLVM and MLIR 22, LLD and protobuf; functions to declare effc's libraries and dialects.

find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
find_package(LLD REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/lld)
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)
set(LLVM_LINK_LLVM_DYLIB ${EFFC_SHARED_LLVM})
set(MLIR_LINK_MLIR_DYLIB ${EFFC_SHARED_LLVM})
set(LLVM_RUNTIME_OUTPUT_INTDIR ${PROJECT_BINARY_DIR}/bin)
set(LLVM_LIBRARY_OUTPUT_INTDIR ${PROJECT_BINARY_DIR}/lib)
# SYSTEM silences warnings in generated and in LLVM's own headers.
include_directories(SYSTEM ${PROJECT_BINARY_DIR}/include ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
separate_arguments(llvm_definitions NATIVE_COMMAND "${LLVM_DEFINITIONS}")
add_definitions(${llvm_definitions})
set(EFFC_LLVM_TOOLS_DIR ${LLVM_TOOLS_BINARY_DIR})

add_library(effc_mlir INTERFACE)
add_library(effc_lld INTERFACE)
if(EFFC_SHARED_LLVM)
  target_link_libraries(effc_mlir INTERFACE MLIR LLVM)
  target_link_libraries(effc_lld INTERFACE lldELF lldCommon)
else()
  include(EffcStaticLLVM)
endif()

# effc_library(NAME sources... LINK libraries... DEPENDS targets...): a static library of the compiler.
function(effc_library name)
  cmake_parse_arguments(arg "" "" "LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC ${arg_LINK} effc_mlir PRIVATE effc_warnings)
  # Headers that TableGen writes must exist before anything compiles.
  add_dependencies(${name} effc_generated_headers ${arg_DEPENDS})
  if(EFFC_PCH AND NOT name STREQUAL "EffcPch")
    target_precompile_headers(${name} REUSE_FROM EffcPch)
  endif()
endfunction()

# effc_executable(NAME sources... LINK libraries...)
function(effc_executable name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${arg_LINK} effc_mlir effc_warnings)
  add_dependencies(${name} effc_generated_headers)
  target_link_options(${name} PRIVATE -Wl,--gc-sections -Wl,--as-needed)
  if(EFFC_PCH)
    # The header is compiled as for a library; CMake gives executables -fPIE, which would not match.
    target_compile_options(${name} PRIVATE -fPIC)
    target_precompile_headers(${name} REUSE_FROM EffcPch)
  endif()
endfunction()

# effc_unittest(NAME sources... LINK libraries...): a GoogleTest executable that CTest runs as one test. ./x test finds it
# by the end of its name.
function(effc_unittest name)
  if(NOT name MATCHES "-tests$")
    message(FATAL_ERROR "the test program '${name}' must be called ...-tests, or ./x test does not run it")
  endif()
  find_package(GTest REQUIRED)
  effc_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    EFFC_SOURCE_DIR="${PROJECT_SOURCE_DIR}" EFFC_BINARY_DIR="${PROJECT_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "EFFC_TEST_DATA=$ENV{EFFC_TEST_DATA}")
endfunction()
