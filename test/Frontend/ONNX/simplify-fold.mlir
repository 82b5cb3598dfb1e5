// RUN: effc-opt %s -onnx-simplify -split-input-file | FileCheck %s

// A causal mask folds to numbers.
// CHECK-LABEL: func.func @main
// CHECK: onnx.constant "" dense<{{\[\[}}true, true, false], [true, true, true]]> : tensor<2x3xi1>
// CHECK-NOT: onnx.node
module {
  func.func @main() -> tensor<*xi1> {
    %zero = onnx.constant "" dense<0> : tensor<i64>
    %one = onnx.constant "" dense<1> : tensor<i64>
    %three = onnx.constant "" dense<3> : tensor<i64>
    %keys = onnx.node "Range"(%zero, %three, %one) since 18 : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<*xi64>
    %queries = onnx.constant "" dense<[[1], [2]]> : tensor<2x1xi64>
    %mask = onnx.node "LessOrEqual"(%keys, %queries) since 18 : (tensor<*xi64>, tensor<2x1xi64>) -> tensor<*xi1>
    return %mask : tensor<*xi1>
  }
}

// -----

// A condition that is known chooses its branch; captured values stay connected.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2xf32>)
// CHECK-NEXT: %[[Y:.*]] = onnx.node "Neg"(%[[X]]) since 18 : (tensor<2xf32>) -> tensor<2xf32>
// CHECK-NEXT: return %[[Y]]
module {
  func.func @main(%x: tensor<2xf32>) -> tensor<*xf32> {
    %c = onnx.constant "" dense<false> : tensor<i1>
    %y = onnx.node "If"(%c) since 18 graphs ["then_branch", "else_branch"] : (tensor<i1>) -> tensor<*xf32> {
      %a = onnx.node "Abs"(%x) since 18 : (tensor<2xf32>) -> tensor<*xf32>
      onnx.yield %a : tensor<*xf32>
    }, {
      %a = onnx.node "Neg"(%x) since 18 : (tensor<2xf32>) -> tensor<*xf32>
      onnx.yield %a : tensor<*xf32>
    }
    return %y : tensor<*xf32>
  }
}

// -----

// The decay -exp(A_log) of a scan is computed once.
// CHECK-LABEL: func.func @main
// CHECK-NEXT: onnx.constant "" dense<-1.000000e+00> : tensor<4xf32>
// CHECK-NEXT: return
module {
  func.func @main() -> tensor<*xf32> {
    %log = onnx.constant "A_log" dense<0.0> : tensor<4xf32>
    %a = onnx.node "Exp"(%log) since 18 : (tensor<4xf32>) -> tensor<*xf32>
    %b = onnx.node "Neg"(%a) since 18 : (tensor<*xf32>) -> tensor<*xf32>
    return %b : tensor<*xf32>
  }
}

// -----

// Large initializers are not copied: casts and views of them stay.
// CHECK-LABEL: func.func @main
// CHECK: %[[W:.*]] = onnx.constant "w" dense<1.000000e+00> : tensor<512x128xbf16>
// CHECK: %[[F:.*]] = onnx.node "Cast"(%[[W]]) since 18 {to = 1 : i64} : (tensor<512x128xbf16>) -> tensor<512x128xf32>
// CHECK: onnx.node "Transpose"(%[[F]]) since 18 {perm = array<i64: 1, 0>} : (tensor<512x128xf32>) -> tensor<128x512xf32>
module {
  func.func @main() -> tensor<*xf32> {
    %w0 = onnx.constant "w" dense<1.0> : tensor<512x128xbf16>
    %f = onnx.node "Cast"(%w0) since 18 {to = 1 : i64} : (tensor<512x128xbf16>) -> tensor<*xf32>
    %t = onnx.node "Transpose"(%f) since 18 : (tensor<*xf32>) -> tensor<*xf32>
    return %t : tensor<*xf32>
  }
}
