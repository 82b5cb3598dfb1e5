// Where the example of a step stands.
plan.kernel @in_proj "linear_f32" {extras = 0, k = 384, ldx = 384, ldy = 1600, n = 1600, rows = 1}
eff.weight @in_proj.weight : !eff.weight<1600x384, f32, panel16>
plan.program @example entry(#eff.entry<decode, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<1x384xf32>
  %w = plan.weight @in_proj.weight
  %y = plan.buffer 6400
EXAMPLE
}
