// Where the example of an epilogue's op stands.
func.func @example(%x: tensor<1x1x8xf32>, %w: !eff.weight<8x8, f32>) {
  %y = eff.linear %x, %w epilogue {
  ^bb0(%s: f32):
EXAMPLE
  } : tensor<1x1x8xf32>, !eff.weight<8x8, f32> -> tensor<1x1x8xf32>
  return
}
