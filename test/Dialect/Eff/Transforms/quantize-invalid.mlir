// RUN: not effc-opt %s '--eff-quantize=format=w4a16 group=12' 2>&1 | FileCheck %s
// RUN: not effc-opt %s --eff-quantize=format=int3 2>&1 | FileCheck %s --check-prefix=FORMAT

// CHECK: error: EFF0102: a group of 12 columns
// CHECK: try: use a positive multiple of 8
// FORMAT: Cannot find option named 'int3'
module {}
