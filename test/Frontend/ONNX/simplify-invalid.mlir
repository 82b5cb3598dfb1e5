// RUN: effc-opt %s -onnx-simplify -split-input-file -verify-diagnostics

module {
  func.func @main(%x: tensor<2x3xf32>, %y: tensor<4xf32>) -> tensor<*xf32> {
    // expected-error @below {{EFF0213: Add cannot take (tensor<2x3xf32>, tensor<4xf32>)}}
    // expected-note @below {{why: the shapes do not broadcast}}
    %z = onnx.node "Add"(%x, %y) since 18 : (tensor<2x3xf32>, tensor<4xf32>) -> tensor<*xf32>
    return %z : tensor<*xf32>
  }
}

// -----

module {
  func.func @main(%x: tensor<2x3xf32>, %y: tensor<4x5xf32>) -> tensor<*xf32> {
    // expected-error @below {{EFF0213: MatMul cannot take (tensor<2x3xf32>, tensor<4x5xf32>)}}
    // expected-note @below {{why: the inner sizes are 3 and 4}}
    %z = onnx.node "MatMul"(%x, %y) since 18 : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<*xf32>
    return %z : tensor<*xf32>
  }
}

// -----

module {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
    %shape = onnx.constant "" dense<[4, 2]> : tensor<2xi64>
    // expected-error @below {{EFF0213: Reshape cannot take (tensor<2x3xf32>, tensor<2xi64>)}}
    // expected-note @below {{why: the wanted shape 4x2 has 8 elements}}
    %z = onnx.node "Reshape"(%x, %shape) since 18 : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
    return %z : tensor<*xf32>
  }
}

// -----

module {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
    %i = onnx.constant "" dense<7> : tensor<i64>
    // expected-error @below {{EFF0213: Gather cannot take (tensor<2x3xf32>, tensor<i64>)}}
    // expected-note @below {{why: the index 7 is out of range}}
    %z = onnx.node "Gather"(%x, %i) since 18 : (tensor<2x3xf32>, tensor<i64>) -> tensor<*xf32>
    return %z : tensor<*xf32>
  }
}

// -----

module {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
    // expected-error @below {{EFF0206: Transpose is not well formed}}
    // expected-note @below {{why: perm is not a permutation}}
    %z = onnx.node "Transpose"(%x) since 18 {perm = array<i64: 0, 0>} : (tensor<2x3xf32>) -> tensor<*xf32>
    return %z : tensor<*xf32>
  }
}

// -----

module {
  func.func @main() -> tensor<*xf32> {
    // expected-error @below {{EFF0206: Constant is not well formed}}
    // expected-note @below {{why: it has 2 values}}
    %z = onnx.node "Constant"() since 18 {value_int = 1 : i64, value_float = 1.0 : f32} : () -> tensor<*xf32>
    return %z : tensor<*xf32>
  }
}

// -----

module {
  func.func @main(%x: tensor<2x6xf32>) -> tensor<*xf32> {
    %sizes = onnx.constant "" dense<[2, 3]> : tensor<2xi64>
    // expected-error @below {{EFF0213: Split cannot take (tensor<2x6xf32>, tensor<2xi64>)}}
    // expected-note @below {{why: the sizes add up to 5}}
    %z:2 = onnx.node "Split"(%x, %sizes) since 18 {axis = 1 : i64} : (tensor<2x6xf32>, tensor<2xi64>) -> (tensor<*xf32>, tensor<*xf32>)
    return %z#0 : tensor<*xf32>
  }
}

// -----

module {
  func.func @main(%x: tensor<1x4x8xf32>, %w: tensor<6x2x3xf32>) -> tensor<*xf32> {
    // expected-error @below {{EFF0213: Conv cannot take (tensor<1x4x8xf32>, tensor<6x2x3xf32>)}}
    // expected-note @below {{why: the channels do not fit 4 groups}}
    %z = onnx.node "Conv"(%x, %w) since 18 {group = 4 : i64} : (tensor<1x4x8xf32>, tensor<6x2x3xf32>) -> tensor<*xf32>
    return %z : tensor<*xf32>
  }
}
