// RUN: effc-opt %s -onnx-bind="dims=batch" -split-input-file -verify-diagnostics

// expected-error @below {{EFF0102: 'batch' does not give a dimension}}
// expected-note @below {{try: write NAME=VALUE with a number of at least 0}}
module {
  func.func @main() {
    return
  }
}
