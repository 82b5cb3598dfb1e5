// RUN: effc-opt %s -split-input-file -verify-diagnostics

func.func @c1(%c: tensor<i1>) {
  // expected-error @below {{C1: has 1 regions but 2 names for them}}
  %0 = "onnx.node"(%c) <{op_type = "If", since = 18 : i64, graphs = ["then_branch", "else_branch"]}> ({
    "onnx.yield"() : () -> ()
  }) : (tensor<i1>) -> tensor<f32>
  return
}

// -----

func.func @c2(%c: tensor<i1>) {
  // expected-error @below {{C2: a subgraph must be one block that ends in onnx.yield}}
  %0 = "onnx.node"(%c) <{op_type = "If", since = 18 : i64, graphs = ["then_branch"]}> ({
    "func.return"() : () -> ()
  }) : (tensor<i1>) -> tensor<f32>
  return
}
