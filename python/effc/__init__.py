"""effc from Python: `python3 -m effc.export` writes ONNX files that `effc compile` reads."""
