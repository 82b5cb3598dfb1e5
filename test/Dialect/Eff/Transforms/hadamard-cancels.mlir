// RUN: effc-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func.func @cancels
// CHECK-SAME: (%[[X:.*]]: tensor<1x2x8xf32>,
// CHECK-NEXT: arith.addf %[[X]], %[[X]]
// CHECK-NEXT: return
func.func @cancels(%x: tensor<1x2x8xf32>, %y: tensor<1x2x8xf32, #eff.basis<hadamard = 8>>)
    -> (tensor<1x2x8xf32>, tensor<1x2x8xf32, #eff.basis<hadamard = 8>>) {
  %0 = eff.hadamard %x : tensor<1x2x8xf32> -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
  %1 = eff.hadamard %0 {transposed} : tensor<1x2x8xf32, #eff.basis<hadamard = 8>> -> tensor<1x2x8xf32>
  %2 = eff.hadamard %y {transposed} : tensor<1x2x8xf32, #eff.basis<hadamard = 8>> -> tensor<1x2x8xf32>
  %3 = eff.hadamard %2 : tensor<1x2x8xf32> -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
  %4 = arith.addf %1, %1 : tensor<1x2x8xf32>
  return %4, %3 : tensor<1x2x8xf32>, tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
}

// H of these orders is not its own inverse.
// CHECK-LABEL: func.func @twice
// CHECK-COUNT-2: eff.hadamard
func.func @twice(%x: tensor<1x2x20xf32>) -> tensor<1x2x20xf32> {
  %0 = eff.hadamard %x {bases_erased} : tensor<1x2x20xf32> -> tensor<1x2x20xf32>
  %1 = eff.hadamard %0 {bases_erased} : tensor<1x2x20xf32> -> tensor<1x2x20xf32>
  return %1 : tensor<1x2x20xf32>
}
