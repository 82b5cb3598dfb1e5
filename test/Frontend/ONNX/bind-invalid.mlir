// RUN: effc-opt %s -onnx-bind="tokens=4" -split-input-file -verify-diagnostics

module {
  // expected-error @below {{EFF0212: the dimension 'heads' of the input 'x' is not known}}
  // expected-note @below {{try: give it with --dim heads=VALUE}}
  func.func @main(%x: tensor<?x?xf32> {onnx.dims = ["batch", "heads"], onnx.name = "x"}) {
    return
  }
}

// -----

module {
  // expected-error @below {{EFF0212: the dimension 'height' of the input 'x' is not known}}
  // expected-note @below {{try: give it with --dim height=VALUE}}
  func.func @main(%x: tensor<?xf32> {onnx.dims = ["2*height + batch"], onnx.name = "x"}) {
    return
  }
}

// -----

module {
  // expected-error @below {{EFF0212: dimension 1 of the input 'x' is not known and has no name}}
  // expected-note @below {{try: export the model with a fixed or named dimension}}
  func.func @main(%x: tensor<2x?xf32> {onnx.dims = [2, ""], onnx.name = "x"}) {
    return
  }
}

// -----

module {
  // expected-error @below {{EFF0212: the input 'x' has no declared shape}}
  // expected-note @below {{try: export the model with a shape for it}}
  func.func @main(%x: tensor<*xf32> {onnx.name = "x"}) {
    return
  }
}

// -----

module {
  // expected-error @below {{EFF0212: the dimension 'seq - 9' of the input 'x' becomes -5}}
  // expected-note @below {{try: change the values that it is computed from}}
  func.func @main(%ids: tensor<1x?xi64> {onnx.dims = [1, "seq"], onnx.name = "input_ids"},
                  %x: tensor<?xf32> {onnx.dims = ["seq - 9"], onnx.name = "x"}) {
    return
  }
}

// -----

// expected-error @below {{EFF0206: the module has no function @main}}
module {
}
