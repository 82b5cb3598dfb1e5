// RUN: effc-opt %s --plan-size-generics -verify-diagnostics

// Ops of eff are no generic code: kernels compute them.
// expected-error @below {{EFF0501: generic code does not parse}}
// expected-note @below {{why: }}
// expected-note @below {{try: }}
plan.generic @g {
^bb0(%x: tensor<1x1x4xf32>):
  %a, %b = eff.split %x : tensor<1x1x4xf32> -> tensor<1x1x2xf32>, tensor<1x1x2xf32>
  plan.yield %a : tensor<1x1x2xf32>
}
