// RUN: not effc-opt %s --eff-rotate 2>&1 | FileCheck %s
// CHECK: error: EFF0102: eff-rotate has nothing to do
// CHECK: try: give residual, online or both
module {}
