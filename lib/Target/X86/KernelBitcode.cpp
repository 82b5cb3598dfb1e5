//===- KernelBitcode.cpp - the kernels' bitcode
//-----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

asm(R"(
  .section .rodata.effc_x86_kernels, "a"
  .balign 16
  .globl effc_x86_kernels_begin
  .hidden effc_x86_kernels_begin
effc_x86_kernels_begin:
  .incbin ")" EFFC_X86_KERNELS_BC R"("
  .globl effc_x86_kernels_end
  .hidden effc_x86_kernels_end
effc_x86_kernels_end:
  .byte 0
  .text
)");
