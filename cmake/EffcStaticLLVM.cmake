# The packaged MLIR and LLD archives name libLLVM.so in their link interface; a static tool that follows it holds two
# copies of LLVM. Rewrite the interfaces so that the static archives are used alone.

add_library(effc_llvm_static INTERFACE)
llvm_map_components_to_libnames(llvm_libs Analysis AsmPrinter BinaryFormat BitReader BitWriter CodeGen Core
  DebugInfoDWARF DTLTO Demangle FrontendOpenMP IRReader Linker LTO MC Object Option Passes Remarks Support Target
  TargetParser TransformUtils X86)
target_link_libraries(effc_llvm_static INTERFACE ${llvm_libs})
if(TARGET LLVMExtensions)
  set_target_properties(LLVMExtensions PROPERTIES INTERFACE_LINK_LIBRARIES LLVMSupport)
endif()
foreach(t IN LISTS MLIR_EXPORTED_TARGETS LLD_EXPORTED_TARGETS)
  get_target_property(libs ${t} INTERFACE_LINK_LIBRARIES)
  if(libs)
    list(TRANSFORM libs REPLACE "^LLVM$" effc_llvm_static)
    list(REMOVE_ITEM libs MLIR)
    set_target_properties(${t} PROPERTIES INTERFACE_LINK_LIBRARIES "${libs}")
  endif()
endforeach()

set(effc_mlir_archives
  MLIRAffineToStandard MLIRAnalysis MLIRArithDialect MLIRArithToLLVM MLIRArithValueBoundsOpInterfaceImpl
  MLIRArithTransforms MLIRAsmParser MLIRBufferizationDialect MLIRBufferizationPipelines MLIRBufferizationTransforms
  MLIRBuiltinToLLVMIRTranslation MLIRBytecodeReader MLIRBytecodeWriter MLIRControlFlowDialect MLIRControlFlowToLLVM
  MLIRControlFlowTransforms MLIRConvertToLLVMPass MLIRFuncAllExtensions MLIRFuncDialect MLIRFuncToLLVM
  MLIRFuncTransforms MLIRIR MLIRIndexToLLVM MLIRLLVMDialect MLIRLLVMToLLVMIRTranslation MLIRLinalgDialect
  MLIRLinalgToStandard MLIRLinalgTransforms MLIRMathDialect MLIRMathToLLVM MLIRMathTransforms MLIRMemRefDialect
  MLIRMemRefToLLVM MLIRMemRefTransforms MLIROptLib MLIRParser MLIRPass MLIRReconcileUnrealizedCasts MLIRSCFDialect
  MLIRSCFToControlFlow MLIRSCFTransforms MLIRSupport MLIRTensorDialect MLIRTensorInferTypeOpInterfaceImpl
  MLIRTensorTilingInterfaceImpl MLIRTensorTransforms MLIRTargetLLVMIRExport MLIRTransformUtils MLIRTransforms
  MLIRUBDialect MLIRUBToLLVM MLIRVectorDialect MLIRVectorToLLVM MLIRVectorToLLVMPass MLIRVectorToSCF
  MLIRVectorTransforms)
target_link_libraries(effc_mlir INTERFACE ${effc_mlir_archives} effc_llvm_static)
target_link_libraries(effc_lld INTERFACE lldELF lldCommon)
