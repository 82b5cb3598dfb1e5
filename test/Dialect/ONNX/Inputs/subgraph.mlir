// Where the example of a subgraph's op stands.
func.func @example(%c: tensor<i1>, %a: tensor<f32>, %b: tensor<4xf32>) {
  %y:2 = onnx.node "If"(%c) since 18 graphs ["then_branch"] : (tensor<i1>) -> (tensor<f32>, tensor<4xf32>) {
EXAMPLE
  }
  return
}
