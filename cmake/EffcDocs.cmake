# effc-docs: writes the pages under docs/reference from the TableGen descriptions.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_custom_target(effc-docs
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/utils/reference-docs.py $<TARGET_FILE:mlir-tblgen>
          ${MLIR_INCLUDE_DIRS}
  COMMENT "Writing docs/reference"
  VERBATIM)
