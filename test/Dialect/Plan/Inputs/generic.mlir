// Where the example of generic code's terminator stands.
plan.generic @example {
^bb0(%0: tensor<1x4xf32>):
EXAMPLE
}
