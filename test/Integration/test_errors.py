"""Bad input: one stable code, exit status 1, what and what to try, no output file, no stack trace."""
import os
import pathlib
import shutil
import subprocess
import unittest

import numpy as np

from effc_tools import EFFC, EXAMPLES, SCRATCH, compiled, run

OUTPUT = SCRATCH / "never.eff"


class Refusals(unittest.TestCase):
    def refuse(self, code, *args, mentions=()):
        before = set(SCRATCH.iterdir())
        result = run(*args, check=False)
        text = result.stderr
        self.assertEqual(result.returncode, 1, text + result.stdout)
        self.assertIn(f"error EFF{code:04d}: ", text)
        self.assertIn("try: ", text)
        self.assertNotIn("Stack dump", text)
        self.assertNotIn("loc(", text)
        for word in mentions:
            self.assertIn(word, text)
        self.assertEqual(set(SCRATCH.iterdir()) - before, set(), "files were left behind")

    def compile(self, code, model, *flags, mentions=()):
        self.refuse(code, "compile", model, "-o", OUTPUT, *flags, mentions=mentions)

    def write(self, name, data):
        path = SCRATCH / name
        path.write_bytes(data)
        return path

    def example(self, name):
        return (EXAMPLES / name).read_bytes()

    # Files

    def test_no_such_file(self):
        self.compile(101, SCRATCH / "none.onnx", mentions=["none.onnx"])

    def test_a_directory(self):
        self.compile(101, SCRATCH)

    def test_not_onnx(self):
        self.compile(201, self.write("text.onnx", b"This is not a model, it only looks like a file. " * 20))

    def test_empty(self):
        self.compile(201, self.write("empty.onnx", b""))

    def test_truncated(self):
        data = self.example("mamba2-tiny.onnx")
        self.compile(202, self.write("cut.onnx", data[:len(data) // 2]))

    def test_external_data_missing(self):
        self.compile(205, self.write("alone.onnx", self.example("mamba2-16m.onnx")), mentions=["mamba2-16m.onnx.data"])

    def test_external_data_too_short(self):
        folder = SCRATCH / "short"
        folder.mkdir(exist_ok=True)
        shutil.copy(EXAMPLES / "mamba2-16m.onnx", folder)
        (folder / "mamba2-16m.onnx.data").write_bytes(self.example("mamba2-16m.onnx.data")[:1 << 20])
        self.compile(205, folder / "mamba2-16m.onnx")

    def test_external_data_outside(self):
        data = self.example("mamba2-16m.onnx").replace(b"mamba2-16m.onnx.data", b"../../../etc/hostnam")
        self.compile(205, self.write("outside.onnx", data))

    # Graphs

    def model(self, name, nodes, inputs, outputs, initializers=(), opset=18, **kwargs):
        from onnx import helper
        graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=list(initializers))
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset),
                                                       helper.make_opsetid("com.example", 1)], **kwargs)
        made.ir_version = 8
        return self.write(name, made.SerializeToString())

    def test_unknown_operators_are_all_named(self):
        from onnx import TensorProto, helper
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
        nodes = [helper.make_node("FancyNorm", ["x"], ["a"], name="first", domain="com.example"),
                 helper.make_node("FancyNorm", ["a"], ["b"], name="second", domain="com.example"),
                 helper.make_node("Odd", ["b"], ["y"], name="third", domain="com.example")]
        self.compile(210, self.model("unknown.onnx", nodes, [x], [y]), mentions=["FancyNorm", "first", "Odd", "third"])

    def test_unsupported_type(self):
        from onnx import TensorProto, helper
        x = helper.make_tensor_value_info("x", TensorProto.COMPLEX64, [1, 4])
        y = helper.make_tensor_value_info("y", TensorProto.COMPLEX64, [1, 4])
        self.compile(211, self.model("complex.onnx", [helper.make_node("Neg", ["x"], ["y"], name="n")], [x], [y]))

    def test_dynamic_dimension(self):
        from onnx import TensorProto, helper
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "width"])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "width"])
        path = self.model("dynamic.onnx", [helper.make_node("Neg", ["x"], ["y"], name="n")], [x], [y])
        self.compile(212, path, mentions=["width", "--dim"])

    def test_shapes_known_only_at_run_time(self):
        from onnx import TensorProto, helper
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        # No rank; a rank and no sizes.
        for name, length in (("rank", "rank"), ("sizes", 2)):
            shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [length])
            path = self.model(f"{name}.onnx", [helper.make_node("Reshape", ["x", "shape"], ["y"], name="bend")], [x, shape], [y])
            flags = ["--dim", "rank=3"] if name == "rank" else []
            self.compile(212, path, *flags, mentions=["bend", "Reshape", "operand 1", "constant"])
        branch = [helper.make_graph([helper.make_node("Constant", [], ["c"], value_floats=[1.0] * n)], f"of{n}", [],
                                    [helper.make_tensor_value_info("c", TensorProto.FLOAT, [n])]) for n in (2, 3)]
        test = helper.make_tensor_value_info("test", TensorProto.BOOL, [])
        path = self.model("branches.onnx", [helper.make_node("If", ["test"], ["y"], name="choose", then_branch=branch[0],
                                                             else_branch=branch[1])], [test], [y])
        self.compile(212, path, mentions=["choose", "'If'", "numbers that go in"])

    def test_shapes_that_do_not_fit(self):
        from onnx import TensorProto, helper
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
        w = helper.make_tensor("w", TensorProto.FLOAT, [5, 4], np.zeros(20, np.float32))
        path = self.model("shapes.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [x], [y], [w])
        self.compile(213, path, mentions=["product"])

    # The command line

    def test_output_directory_missing(self):
        self.refuse(103, "compile", EXAMPLES / "mamba2-tiny.onnx", "-o", SCRATCH / "no/where/m.eff")

    def test_disk_full(self):
        if not pathlib.Path("/dev/full").exists() or os.geteuid() != 0:
            self.skipTest("needs a small file system that root can mount")
        mount = SCRATCH / "small-disk"
        mount.mkdir(exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount]).returncode:
            self.skipTest("cannot mount a small file system here")
        try:
            result = run("compile", EXAMPLES / "mamba2-tiny.onnx", "-o", mount / "m.eff", "-q", check=False)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn("EFF0103", result.stderr)
            self.assertEqual(list(mount.iterdir()), [])
        finally:
            subprocess.run(["umount", mount], check=True)

    def test_unknown_words(self):
        self.refuse(102, "compil", mentions=["compile"])
        self.refuse(102, "run", "m.eff", "--promt", "x", mentions=["--prompt"])
        self.refuse(102, "compile", "m.onnx", "--quant=int5", mentions=["w4a16"])
        self.refuse(502, "compile", EXAMPLES / "mamba2-tiny.onnx", "--target=x86-64-v9", mentions=["x86-64-v3"])

    # Model files

    def test_model_files(self):
        good = compiled("llama-tiny").read_bytes()
        self.refuse(101, "run", SCRATCH / "none.eff", "-p", "x")
        self.refuse(601, "run", EXAMPLES / "llama-tiny.onnx", "-p", "x")
        for part in (100, len(good) // 3, len(good) - 100):
            self.assertIn(run("run", self.write("cut.eff", good[:part]), "-p", "x", check=False).returncode, (1,))
        at = good.index(b'"effc":')
        for position in (at, at + 40, 0x12):
            damaged = bytearray(good)
            damaged[position] ^= 0x10
            result = run("inspect", self.write("flipped.eff", bytes(damaged)), check=False)
            self.assertEqual(result.returncode, 1, f"byte {position}")
            self.assertIn("error EFF06", result.stderr)

    def test_a_file_for_another_processor(self):
        path = compiled("llama-tiny", "--target=x86-64-v4")
        result = subprocess.run([EFFC, "run", path, "-p", "x"], capture_output=True, text=True,
                                env={**os.environ, "EFFRT_DISABLE_FEATURES": "x86-64-v4"})
        self.assertEqual(result.returncode, 1)
        self.assertIn("EFF0604", result.stderr)
        inspected = subprocess.run([EFFC, "inspect", path], capture_output=True, text=True,
                                   env={**os.environ, "EFFRT_DISABLE_FEATURES": "x86-64-v4"})
        self.assertEqual(inspected.returncode, 0, inspected.stderr)

    def test_prompts(self):
        small = compiled("llama-tiny", "--max-length=64", "--prefill=16")
        self.refuse(605, "run", small, "-p", "word " * 200)
        self.refuse(606, "run", small, "--ids", "5,99999")
        self.refuse(102, "run", small)

    def test_weights_that_are_not_numbers(self):
        from onnx import TensorProto, helper
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
        w = helper.make_tensor("bad_weight", TensorProto.FLOAT, [4, 4], np.full(16, np.nan, np.float32))
        path = self.model("nan.onnx", [helper.make_node("MatMul", ["x", "bad_weight"], ["y"], name="product")], [x], [y], [w])
        result = run("compile", path, "-o", SCRATCH / "nan.eff", "-q")
        self.assertIn("bad_weight", result.stderr)


if __name__ == "__main__":
    unittest.main()
