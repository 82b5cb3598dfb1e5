// RUN: effc-opt %s -split-input-file -verify-diagnostics

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  // expected-error @below {{C1: bytes must be positive, got 0}}
  %x = plan.buffer 0
}

// -----

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  // expected-error @below {{C2: the offset must be a multiple of 64, got 32}}
  %x = plan.buffer 64 at 32
}

// -----

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.buffer 64
  // expected-error @below {{C1: the offset must not be negative, got -4}}
  %y = plan.view %x[-4]
}

// -----

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<1x4xf32>
  %y = plan.view %x[8]
  // expected-error @below {{C2: the offset 16 lies beyond the 16 bytes of its base}}
  %z = plan.view %y[8]
}

// -----

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  // expected-error @below {{C1: the index must not be negative, got -1}}
  %x = plan.input -1 "x" : tensor<1x4xf32>
}

// -----

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  // expected-error @below {{C1: the type must have a static shape, got 'tensor<?xf32>'}}
  %x = plan.output 0 "x" : tensor<?xf32>
}

// -----

// expected-error @below {{C1: inputs must be numbered from 0 without gaps}}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 1 "x" : tensor<4xf32>
}

// -----

plan.kernel @copy "copy_rows" {d = 4, ldx = 4, ldy = 4, rows = 1}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  // expected-note @below {{the reference}}
  %x = plan.buffer 16
  %y = plan.output 0 "y" : tensor<4xf32>
  // expected-error @below {{C2: the step reads what no step has written}}
  plan.step @copy(%x, %y) writes [1]
}

// -----

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) arena(128) {
  // expected-error @below {{C3: a program with an arena needs the offset of each buffer}}
  %x = plan.buffer 16
}

// -----

// The 64 bytes behind each buffer count.
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) arena(64) {
  // expected-error @below {{C3: the buffer reaches beyond the arena of 64 bytes}}
  %x = plan.buffer 16 at 0
}

// -----

plan.kernel @copy "copy_rows" {d = 4, ldx = 4, ldy = 4, rows = 1}
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) arena(256) {
  %in = plan.input 0 "x" : tensor<4xf32>
  %out = plan.output 0 "y" : tensor<4xf32>
  // expected-note @below {{the other buffer}}
  %x = plan.buffer 16 at 0
  // expected-error @below {{C3: the buffer overlaps one that is in use at the same time}}
  %y = plan.buffer 16 at 64
  plan.step @copy(%in, %x) writes [1]
  plan.step @copy(%x, %y) writes [1]
  plan.step @copy(%y, %out) writes [1]
}

// -----

plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  // expected-error @below {{C4: a program holds references and steps alone}}
  %c = arith.constant 1.0 : f32
}
