"""Random weights: true shapes, sensible values, reproducible, streamed."""

import os
import subprocess
import sys
import unittest

import numpy as np
import onnx

import onnx_eval
from checkpoints import CONFIGS, ROOT, shapes
from exporting import ExportTest


class Random(ExportTest):
    def weights(self, path) -> dict:
        """name -> (element type, float32 array), computed tables left out"""
        found = {}
        for t in onnx.load(str(path), load_external_data=False).graph.initializer:
            array = onnx_eval.tensor_array(t, str(path.parent))
            if t.name.startswith("const/") or t.name.endswith("inv_freq"):
                continue
            found[t.name] = (t.data_type, onnx_eval.widen(array) if array.dtype == np.uint16 else array)
        return found

    def test_shapes_are_those_of_a_checkpoint(self):
        for kind, config in CONFIGS.items():
            with self.subTest(kind=kind):
                path = self.export("--random", self.write_json("c.json", config), name=f"{kind}.onnx")
                found = self.weights(path)
                self.assertEqual({n: a.shape for n, (_, a) in found.items()}, shapes(config))
                for name, (dtype, array) in found.items():
                    recurrent = name.rsplit(".", 1)[-1] in ("A_log", "A_logs", "D", "Ds", "dt_bias")
                    self.assertEqual(dtype, 1 if recurrent else 16, name)
                    self.assertTrue(np.isfinite(array).all(), name)

    def test_values_are_as_at_the_start_of_training(self):
        config = dict(CONFIGS["mamba"], vocab_size=4000, hidden_size=128, num_hidden_layers=1, initializer_range=0.05)
        found = self.weights(self.export("--random", self.write_json("c.json", config), "--dtype", "f32"))
        table = found["backbone.embeddings.weight"][1]  # 512,000 values, more than one chunk
        self.assertAlmostEqual(float(table.mean()), 0.0, delta=5 * 0.05 / table.size ** 0.5)
        self.assertAlmostEqual(float(table.std()), 0.05, delta=0.001)
        # Kurtosis 3 tells a normal distribution from a uniform one (1.8).
        self.assertAlmostEqual(float((table ** 4).mean() / (table ** 2).mean() ** 2), 3.0, delta=0.1)
        self.assertGreater(len(np.unique(table[:2048].view(np.uint32))), 200000)  # of 262,144: no repeated blocks
        p = "backbone.layers.0.mixer."
        dt = np.log1p(np.exp(found[p + "dt_proj.bias"][1].astype(np.float64)))
        self.assertTrue((dt >= 0.00099).all() and (dt <= 0.101).all())
        np.testing.assert_allclose(np.exp(found[p + "A_log"][1]), np.broadcast_to(np.arange(1, 6), (256, 5)), rtol=1e-6)
        self.assertTrue((found["backbone.norm_f.weight"][1] == 1).all())

    def test_seed_decides(self):
        config = self.write_json("c.json", CONFIGS["llama"])

        def data(name, *arguments):
            self.export("--random", config, *arguments, name=name)
            return (self.out / (name + ".data")).read_bytes()

        self.assertEqual(data("a.onnx"), data("b.onnx", "--seed", 0))
        self.assertNotEqual(data("a.onnx"), data("c.onnx", "--seed", 1))

    def test_one_worker_gives_the_same_bytes(self):
        config = self.write_json("c.json", dict(CONFIGS["llama"], vocab_size=30000))
        self.export("--random", config, name="a.onnx")
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
        try:
            self.export("--random", config, name="b.onnx")
        finally:
            os.sched_setaffinity(0, allowed)
        self.assertEqual((self.out / "a.onnx.data").read_bytes(), (self.out / "b.onnx.data").read_bytes())

    def test_model_runs(self):
        path = self.export("--random", self.write_json("c.json", CONFIGS["mamba2"]))
        model = onnx_eval.load(path)
        states = {v.name: np.zeros([d.dim_value or 2 for d in v.type.tensor_type.shape.dim], np.float32)
                  for v in model.model.graph.input if v.name != "input_ids"}
        logits = model.run(input_ids=np.array([[1, 2, 3], [4, 5, 6]]), **states)["logits"]
        self.assertTrue(np.isfinite(logits).all())
        self.assertGreater(float(logits.std()), 0)

    def test_memory_does_not_grow_with_the_model(self):
        """A 200 MB model is written in less memory than its weights take."""
        config = dict(CONFIGS["llama"], vocab_size=100000, hidden_size=1024, head_dim=8, num_hidden_layers=1,
                      tie_word_embeddings=True)
        # VmHWM, not ru_maxrss: the latter starts at what the parent process had when it forked.
        program = ("import re, sys; from effc.export.cli import main; status = main(sys.argv[1:]); "
                   "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]); sys.exit(status)")
        run = subprocess.run([sys.executable, "-c", program, "--random", str(self.write_json("c.json", config)), "-q",
                              "-o", str(self.out / "m.onnx")], env=dict(os.environ, PYTHONPATH=str(ROOT / "python")),
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        size = os.path.getsize(self.out / "m.onnx.data")
        self.assertGreater(size, 200e6)
        self.assertLess(int(run.stdout) * 1024, 0.7 * size)

    def test_known_shapes_have_the_published_sizes(self):
        from effc.export import known_shapes, load_config
        from effc.export.models import FAMILIES
        from effc.export.graph import GraphBuilder
        from effc.export.weights import RandomSource
        # mamba2-1.3b: 48 x (2048 x (8512 + 4096) + 5 x 4352 + 3 x 64 + 4096 + 2048) + 50288 x 2048 + 2048, by hand.
        sizes = {"llama-3.2-1b": 1_235_814_400, "llama-3.1-8b": 8_030_261_248, "qwen2.5-0.5b": 494_032_768,
                 "mamba-1.4b": 1_372_178_432, "mamba-2.8b": 2_768_345_600, "mamba2-1.3b": 1_343_757_312,
                 "mamba2-2.7b": 2_702_599_680, "vit-base-224": 86_567_656}
        self.assertEqual(known_shapes(), sorted(sizes))
        for name, parameters in sizes.items():
            with self.subTest(name=name):
                config, _ = load_config(str(ROOT / f"python/effc/export/shapes/{name}.json"))
                family = FAMILIES[config.string("model_type")]
                builder = GraphBuilder(name, RandomSource(), family.opset)
                family.build(builder, config)
                self.assertEqual(sum(int(np.prod(w.shape)) for w in builder.weights.values()), parameters)

    def test_random_with_a_bad_config(self):
        self.assert_refused("EFF0101", "--random", self.dir / "absent.json")
        self.assert_refused("EFF0803", "--random", self.write_json("c.json", {"model_type": "bert"}))
        self.assert_refused("EFF0802", "--random", self.write_json("d.json", {"model_type": "llama"}))


if __name__ == "__main__":
    unittest.main()
