"""Rules for hostile input that concern the whole command; the others are tested beside the importer."""
import os
import pathlib
import shutil
import unittest

import numpy as np
from onnx import TensorProto, helper

from effc_tools import EXAMPLES, ROOT, SCRATCH, run


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def weight(name, *shape):
    return helper.make_tensor(name, TensorProto.FLOAT, shape, np.ones(shape, np.float32).ravel())


def save(path, nodes, inputs, outputs, weights=(), name="g", **kwargs):
    model = helper.make_model(helper.make_graph(nodes, name, inputs, outputs, initializer=list(weights)),
                              opset_imports=[helper.make_opsetid("", 18)], **kwargs)
    model.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def files_under(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


class Rules(unittest.TestCase):
    def test_H17_a_model_file_needs_nothing_of_the_onnx_file(self):
        folder = SCRATCH / "h17"
        folder.mkdir()
        for end in (".onnx", ".onnx.data", ".tokenizer.json"):
            shutil.copy(EXAMPLES / f"mamba2-16m{end}", folder)
        run("compile", folder / "mamba2-16m.onnx", "-o", folder / "m.eff", "-q", "--prefill=16")
        ask = ("run", folder / "m.eff", "-p", "The river", "-n", "8", "--temperature", "0", "-q")
        before = run(*ask).stdout
        for name in ("mamba2-16m.onnx", "mamba2-16m.onnx.data"):
            os.truncate(folder / name, 0)
        self.assertEqual(run(*ask).stdout, before)
        self.assertNotEqual(before.strip(), "")

    def test_H18_nothing_is_written_where_a_model_says(self):
        folder = SCRATCH / "h18"
        here = folder / "a/b/c"
        here.mkdir(parents=True)
        bad = [f"{folder}/evil", "../../evil", "..", "x/../../../evil", "~/evil", "$HOME/evil", "evil /evil"]
        # Whatever a model can name is a path here.
        nodes = [helper.make_node("MatMul", [bad[0], bad[1]], [bad[2]], name=bad[3]),
                 helper.make_node("Relu", [bad[2]], [bad[4]], name=bad[5]),
                 helper.make_node("Sigmoid", [bad[2]], [bad[6]], name=bad[0])]
        model = save(folder / "in/m.onnx", nodes, [floats(bad[0], 1, 4)], [floats(bad[4], 1, 4), floats(bad[6], 1, 4)],
                     [weight(bad[1], 4, 4)], name=bad[3], producer_name=bad[1], doc_string=bad[0])
        np.save(folder / "in/x.npy", np.ones((1, 4), np.float32))
        before = files_under(folder)
        command = lambda *words: run(*words, cwd=here)
        command("compile", model, "-o", "m.eff", "--dump-dir", "dump")
        command("compile", model, "-o", "objects", "--stop-after=objects")
        command("inspect", "m.eff")
        command("run", "m.eff", "--input", f"{bad[0]}={folder}/in/x.npy", "--output-dir", "out")
        made = files_under(folder) - before
        self.assertEqual({name for name in made if not name.startswith("a/b/c/")}, set())
        inside = {pathlib.Path(name).relative_to("a/b/c") for name in made}
        self.assertEqual({path.parts[0] for path in inside}, {"m.eff", "dump", "objects", "out"})
        self.assertEqual({len(path.parts) for path in inside}, {1, 2})
        self.assertEqual(len([path for path in inside if path.parts[0] == "out"]), 2)

    def test_H24_errors_name_the_node_and_the_file(self):
        node = lambda kind, inputs, outputs=("y",), **attributes: helper.make_node(
            kind, list(inputs), list(outputs), name="the_node", **attributes)
        x, y = floats("x", 2, 4), floats("y", 2, 4)
        ints = lambda name, *values: helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        short = weight("the_node", 4, 4)
        short.float_data.pop()
        lost = weight("the_node", 4, 4)
        lost.ClearField("float_data")
        lost.data_location = TensorProto.EXTERNAL
        lost.external_data.add(key="location", value="none.data")
        cases = {
            "unknown": (node("NoSuchOperator", "x"), []),
            "arity": (node("Add", "x"), []),
            "undefined": (node("Add", ["x", "nothing"]), []),
            "attribute": (node("Softmax", "x", axis="last"), []),
            "axis": (node("Softmax", "x", axis=7), []),
            "permutation": (node("Transpose", "x", perm=[0, 0]), []),
            "shapes": (node("MatMul", ["x", "w"]), [weight("w", 5, 4)]),
            "reshape": (node("Reshape", ["x", "to"]), [ints("to", -1, -1)]),
            "parts": (node("Split", ["x", "parts"], ["y", "z"], axis=1), [ints("parts", 3, 3)]),
            "index": (node("Gather", ["x", "at"], axis=0), [ints("at", 9)]),
            "short": (node("MatMul", ["x", "the_node"]), [short]),
            "lost": (node("MatMul", ["x", "the_node"]), [lost]),
        }
        for name, (faulty, weights) in cases.items():
            with self.subTest(name):
                path = save(SCRATCH / f"h24/{name}.onnx", [faulty], [x], [y], weights)
                result = run("compile", path, "-o", SCRATCH / "h24/m.eff", check=False)
                self.assertEqual(result.returncode, 1, result.stderr)
                where = [line for line in result.stderr.splitlines() if line.startswith("  where: ")]
                self.assertEqual(len(where), 1, result.stderr)
                self.assertIn("the_node", result.stderr)
                self.assertIn(f"{name}.onnx", where[0])
                self.assertIn("  try: ", result.stderr)

    def test_H24_no_assertion_stands_between_a_file_and_its_error(self):
        places = ["lib/Frontend", "lib/Conversion", "lib/Pipelines", "lib/Artifact", "lib/Reference", "runtime/src"]
        sources = [path for place in places for path in (ROOT / place).rglob("*.cpp")]
        self.assertGreater(len(sources), 100)
        for path in sources:
            for word in (" assert(", "llvm_unreachable(", "report_fatal_error(", "std::terminate(", "cantFail("):
                self.assertNotIn(word, path.read_text(), path)


if __name__ == "__main__":
    unittest.main()
