"""Exported graphs, evaluated operator by operator, against independent forward passes."""

import json
import unittest

import numpy as np

import onnx_eval
import reference_models
from checkpoints import CONFIGS, DATA, ROOT, as_float, random_tensors, write_checkpoint
from exporting import ExportTest

# float32 against float64 over two layers: rounding of about 50 chained operations of width <= 40 on values of order 1.
TOLERANCE = dict(rtol=5e-5, atol=5e-5)


def initial_states(model: onnx_eval.Evaluator, batch: int) -> dict:
    states = {}
    for value in model.model.graph.input:
        if value.name.startswith("past_"):
            dims = value.type.tensor_type.shape.dim
            states[value.name] = np.zeros([batch if d.dim_param == "batch" else d.dim_value for d in dims], np.float32)
    return states


def step(model: onnx_eval.Evaluator, ids: np.ndarray, states: dict, position: int) -> tuple:
    """Logits and the states for the next call."""
    feeds = dict(states, input_ids=ids)
    if any(v.name == "position_ids" for v in model.model.graph.input):
        feeds["position_ids"] = np.broadcast_to(np.arange(position, position + ids.shape[1]), ids.shape)
    outputs = model.run(**feeds)

    def present(name):
        return name.replace("past_key_values", "present").replace("past_states", "present_states")

    return outputs["logits"], {name: outputs[present(name)] for name in states}


VARIANTS = {
    "llama": ({}, {"attention_bias": True, "tie_word_embeddings": True},
              {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
              {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                "original_max_position_embeddings": 40}}),
    "qwen2": ({},),
    "mamba": ({}, {"tie_word_embeddings": False}),
    "mamba2": ({}, {"n_groups": 1}, {"norm_group_size": 12}, {"time_step_limit": [0.5, 1.0]}),
}


class LanguageModels(ExportTest):
    def build(self, kind, changes, name="m"):
        config = dict(CONFIGS[kind], **changes)
        tensors = random_tensors(config)
        path = self.export(write_checkpoint(self.dir / name, config, tensors), name=name + ".onnx")
        return config, {n: as_float(t) for n, t in tensors.items()}, onnx_eval.load(path)

    def test_logits_equal_the_reference(self):
        for kind, variants in VARIANTS.items():
            for number, changes in enumerate(variants):
                with self.subTest(kind=kind, changes=changes):
                    config, tensors, model = self.build(kind, changes, f"{kind}{number}")
                    ids = np.random.default_rng(5).integers(0, config["vocab_size"], (2, 9))
                    logits, _ = step(model, ids, initial_states(model, 2), 0)
                    np.testing.assert_allclose(logits, reference_models.forward(config, tensors, ids), **TOLERANCE)

    def test_split_at_any_point_gives_the_same_logits(self):
        for kind in VARIANTS:
            config, _, model = self.build(kind, {}, kind)
            ids = np.random.default_rng(6).integers(0, config["vocab_size"], (2, 7))
            whole, last = step(model, ids, initial_states(model, 2), 0)
            for cuts in ([1], [4], [6], list(range(1, 7))):
                with self.subTest(kind=kind, cuts=cuts):
                    states, parts, position = initial_states(model, 2), [], 0
                    for part in np.split(ids, cuts, axis=1):
                        logits, states = step(model, part, states, position)
                        parts.append(logits)
                        position += part.shape[1]
                    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-5, atol=1e-5)
                    for name in states:
                        np.testing.assert_allclose(states[name], last[name], rtol=1e-5, atol=1e-5)

    def test_conv_state_is_the_last_inputs_oldest_first(self):
        """After one step from zeros, all columns but the newest are zero."""
        for kind in ("mamba", "mamba2"):
            _, _, model = self.build(kind, {}, kind)
            _, states = step(model, np.array([[3]]), initial_states(model, 1), 0)
            conv = states["past_states.0.conv_state"]
            self.assertTrue((conv[:, :, :2] == 0).all())
            self.assertTrue((conv[:, :, 2] != 0).any())


class Vision(ExportTest):
    def test_logits_equal_the_reference(self):
        config = CONFIGS["vit"]
        tensors = random_tensors(config)
        path = self.export(write_checkpoint(self.dir / "c", config, tensors))
        pixels = np.random.default_rng(7).standard_normal((3, 3, 8, 8)).astype(np.float32)
        logits = onnx_eval.load(path).run(pixel_values=pixels)["logits"]
        reference = reference_models.forward(config, {n: as_float(t) for n, t in tensors.items()}, pixels)
        np.testing.assert_allclose(logits, reference, **TOLERANCE)


    def test_scans_of_images_equal_the_reference(self):
        for changes in ({}, {"image_size": 4, "dims": [6, 6], "d_state": 1}):
            with self.subTest(changes=changes):
                config = dict(CONFIGS["vmamba"], **changes)
                tensors = random_tensors(config)
                name = f"v{len(changes)}"
                path = self.export(write_checkpoint(self.dir / name, config, tensors), name=name + ".onnx")
                pixels = np.random.default_rng(8).standard_normal((2, 3, config["image_size"], config["image_size"]))
                logits = onnx_eval.load(path).run(pixel_values=pixels.astype(np.float32))["logits"]
                reference = reference_models.forward(config, {n: as_float(t) for n, t in tensors.items()}, pixels)
                np.testing.assert_allclose(logits, reference, **TOLERANCE)


class ExampleModels(unittest.TestCase):
    """The models in the repository against figures that Hugging Face's code gave for them in float32."""

    def test_logits_and_greedy_tokens(self):
        golden = json.loads((ROOT / "examples/models/golden.json").read_text())
        for name, prompts, tokens in (("llama-tiny", 4, 24), ("mamba-tiny", 4, 12), ("mamba2-tiny", 4, 12),
                                      ("mamba2-16m", 1, 4)):
            model = onnx_eval.load(ROOT / f"examples/models/{name}.onnx")
            for prompt in golden[name]["prompts"][:prompts]:
                with self.subTest(name=name, prompt=prompt["text"]):
                    ids = np.array([prompt["ids"]])
                    logits, states = step(model, ids, initial_states(model, 1), 0)
                    best = logits[0, -1, prompt["last_top_ids"]]
                    np.testing.assert_allclose(best, prompt["last_top_logits"], atol=1e-3)
                    got, position = [int(logits[0, -1].argmax())], ids.shape[1]
                    while len(got) < tokens:
                        logits, states = step(model, np.array([[got[-1]]]), states, position)
                        got.append(int(logits[0, -1].argmax()))
                        position += 1
                    self.assertEqual(got, prompt["greedy_ids"][:tokens])


@unittest.skipUnless((DATA / "models/golden.json").is_file(), f"no trained models in {DATA} (EFFC_TEST_DATA)")
class Golden(ExportTest):
    def test_image_model(self):
        model = onnx_eval.load(self.export(DATA / "models/vit-cifar", name="vit.onnx"))
        props = {p.key: json.loads(p.value) for p in model.model.metadata_props}
        images = np.load(DATA / "models/cifar10-test.npz")["images"][:64].astype(np.float32) / 255
        images = (images - np.float32(props["effc.image_mean"])) / np.float32(props["effc.image_std"])
        logits = np.concatenate([model.run(pixel_values=part)["logits"]
                                 for part in np.split(images.transpose(0, 3, 1, 2), 8)])
        golden = json.loads((DATA / "models/golden.json").read_text())["vit-cifar"]
        np.testing.assert_allclose(logits[:4], golden["first_logits"], atol=1e-3)
        self.assertEqual(logits.argmax(-1).tolist(), golden["first_predictions"])


if __name__ == "__main__":
    unittest.main()
