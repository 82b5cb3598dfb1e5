// Where the examples of references stand, and the symbols that they name.
eff.weight @l0.in_proj : !eff.weight<1600x384, f32, panel16>
eff.state @l0.ssm : !eff.state<ssd, 12x64x64, f32>
plan.program @example entry(#eff.entry<decode, batch = 1, tokens = 1>) {
DEFINE: $name = plan.input $index "x" : tensor<2048xf32>
EXAMPLE
}
