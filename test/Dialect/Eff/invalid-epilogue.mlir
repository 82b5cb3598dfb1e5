// RUN: effc-opt %s -verify-diagnostics -allow-unregistered-dialect

// An op that nobody knows may be a terminator.
func.func @linear_c4_yield(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>) {
  // expected-error @+1 {{C4: the epilogue must end with eff.yield}}
  %y = eff.linear %x, %w epilogue {
  ^bb0(%acc: f32):
    "other.end"() : () -> ()
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}
