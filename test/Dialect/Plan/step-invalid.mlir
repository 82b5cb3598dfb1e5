// RUN: effc-opt %s -split-input-file -verify-diagnostics

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<4xf32>
  %y = plan.output 0 "y" : tensor<4xf32>
  // expected-error @below {{C1: no plan.kernel or plan.generic has the name @copy}}
  plan.step @copy(%x, %y) writes [1]
}

// -----

plan.kernel @copy "copy_rows" {d = 4, ldx = 4, ldy = 4, rows = 1}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<4xf32>
  %y = plan.output 0 "y" : tensor<4xf32>
  // expected-error @below {{C2: @copy takes 2 operands, got 3}}
  plan.step @copy(%x, %x, %y) writes [2]
}

// -----

plan.generic @g {
^bb0(%x: tensor<4xf32>):
  plan.yield %x : tensor<4xf32>
}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<4xf32>
  // expected-error @below {{C2: @g takes 2 operands, got 1}}
  plan.step @g(%x) writes []
}

// -----

plan.kernel @quantize "quantize_rows" {k = 4, ldq = 4, ldx = 4, rows = 1}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<4xf32>
  %q = plan.buffer 4
  %s = plan.input 1 "s" : tensor<1xf32>
  // expected-error @below {{C3: @quantize writes operands [1, 2]}}
  plan.step @quantize(%x, %q, %s) writes [1]
}

// -----

plan.kernel @copy "copy_rows" {d = 4, ldx = 4, ldy = 4, rows = 1}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<4xf32>
  // expected-error @below {{C3: writes names operand 2 of 2}}
  plan.step @copy(%x, %x) writes [2]
}

// -----

eff.weight @w : !eff.weight<4, f32>
plan.kernel @copy "copy_rows" {d = 4, ldx = 4, ldy = 4, rows = 1}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<4xf32>
  %w = plan.weight @w
  // expected-error @below {{C4: operand 1 is written, but weights and inputs are read only}}
  plan.step @copy(%x, %w) writes [1]
}

// -----

plan.kernel @copy "copy_rows" {d = 4, ldx = 4, ldy = 4, rows = 1}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.null
  %y = plan.output 0 "y" : tensor<4xf32>
  // expected-error @below {{C4: operand 0 of the family 'copy_rows' must not be absent}}
  plan.step @copy(%x, %y) writes [1]
}

// -----

eff.state @s : !eff.state<conv, 3x4, f32>
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  // expected-error @below {{C1: no eff.weight has the name @s}}
  %w = plan.weight @s
}

// -----

eff.weight @w : !eff.weight<4, f32>
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  // expected-error @below {{C1: no eff.state or eff.cache has the name @w}}
  %w = plan.state @w
}

// -----

plan.kernel @norm "rms_norm" {d = 4, eps_bits = 0, group = 4, ldx = 4, ldy = 4, rows = 1, quant = 2}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<4xf32>
  %y = plan.buffer 4
  %none = plan.null
  // expected-error @below {{C4: operand 3 of the family 'rms_norm' must not be absent}}
  plan.step @norm(%x, %x, %y, %none) writes [2, 3]
}
