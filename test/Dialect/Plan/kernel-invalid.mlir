// RUN: effc-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{C1: unknown kernel family 'convolve'}}
plan.kernel @k "convolve" {}

// -----

// expected-error @below {{C1: the constant 'tokens' of the family 'select_rows' is missing}}
plan.kernel @k "select_rows" {batch = 1, d = 4, ldx = 4, ldy = 4}

// -----

// expected-error @below {{C1: the family 'copy_rows' has no constant 'k'}}
plan.kernel @k "copy_rows" {d = 4, k = 4, ldx = 4, ldy = 4, rows = 1}

// -----

// expected-error @below {{C1: the constant 'd' must be an i64}}
plan.kernel @k "copy_rows" {d = 4 : i32, ldx = 4, ldy = 4, rows = 1}

// -----

// expected-error @below {{C1: the constant 'extra1_ld' of the family 'linear_f32' is missing}}
plan.kernel @k "linear_f32" {extra0_ld = 0, extras = 2, k = 8, ldx = 8, ldy = 16, n = 16, rows = 1}

// -----

// expected-error @below {{C2: the family 'copy_rows' takes no epilogue}}
plan.kernel @k "copy_rows" {d = 4, ldx = 4, ldy = 4, rows = 1} epilogue {
^bb0(%acc: f32):
  plan.yield %acc : f32
}

// -----

// expected-error @below {{C2: the epilogue must have 2 arguments, got 1}}
plan.kernel @k "linear_f32" {extra0_ld = 0, extras = 1, k = 8, ldx = 8, ldy = 16, n = 16, rows = 1} epilogue {
^bb0(%acc: f32):
  plan.yield %acc : f32
}

// -----

// expected-error @below {{C2: the epilogue's arguments must be f32, got 'f64'}}
plan.kernel @k "linear_f32" {extras = 0, k = 8, ldx = 8, ldy = 16, n = 16, rows = 1} epilogue {
^bb0(%acc: f64):
  %0 = arith.truncf %acc : f64 to f32
  plan.yield %0 : f32
}

// -----

plan.kernel @k "linear_f32" {extras = 0, k = 8, ldx = 8, ldy = 16, n = 16, rows = 1} epilogue {
^bb0(%acc: f32):
  // expected-error @below {{C2: an epilogue holds arith and math ops alone}}
  %0 = tensor.from_elements %acc : tensor<1xf32>
  plan.yield %acc : f32
}

// -----

// expected-error @below {{C2: the epilogue must yield one f32}}
plan.kernel @k "linear_f32" {extras = 0, k = 8, ldx = 8, ldy = 16, n = 16, rows = 1} epilogue {
^bb0(%acc: f32):
  plan.yield %acc, %acc : f32, f32
}

// -----

// expected-error @below {{C3: extras need an epilogue that reads them}}
plan.kernel @k "linear_f32" {extra0_ld = 0, extras = 1, k = 8, ldx = 8, ldy = 16, n = 16, rows = 1}

// -----

// expected-error @below {{C1: arguments and results must be tensors of static shape, got 'tensor<?xf32>'}}
plan.generic @g {
^bb0(%x: tensor<?xf32>):
  plan.yield %x : tensor<?xf32>
}

// -----

// expected-error @below {{C2: the body must yield at least one tensor}}
plan.generic @g {
^bb0(%x: tensor<4xf32>):
  plan.yield
}

// -----

// expected-error @below {{C3: scratch must not be negative, got -64}}
plan.generic @g scratch(-64) {
^bb0(%x: tensor<4xf32>):
  plan.yield %x : tensor<4xf32>
}
