// Beside the example of a whole program.
eff.weight @embed : !eff.weight<8192x384, bf16>
plan.kernel @embed_1 "embed" {d = 384, format = 1, group = 0, ldy = 384, rows = 1, vocab = 8192}
EXAMPLE
