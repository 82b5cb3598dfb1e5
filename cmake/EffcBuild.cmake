# Compiler flags that all of effc shares, with or without LLVM.

find_program(EFFC_CCACHE ccache)
if(EFFC_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness no file that uses a precompiled header is ever cached.
  set(launcher ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${EFFC_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

# The packaged LLVM is built without assertions; class layouts follow NDEBUG.
add_compile_definitions(NDEBUG)
include_directories(${PROJECT_SOURCE_DIR}/include)

add_library(effc_warnings INTERFACE)
target_compile_options(effc_warnings INTERFACE -Wall -Wextra $<$<BOOL:${EFFC_WERROR}>:-Werror>)

if(EFFC_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # It reads the type that lies before a function; kernels of a model and those that tests load have none.
    add_compile_options(-fno-sanitize=function)
  endif()
  add_link_options(-fsanitize=address,undefined)
  if(EFFC_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
  endif()
endif()
add_compile_options(-ffunction-sections -fdata-sections)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Xclang$<SEMICOLON>-fno-pch-timestamp>)
  add_link_options(-B/usr/lib/llvm-22/bin -fuse-ld=lld)
endif()
