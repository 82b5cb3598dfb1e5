"""Compiled models against figures computed elsewhere (Hugging Face's code in f32)."""
import json
import unittest

import numpy as np

from effc_tools import DATA, compiled, exported, golden, need_data, run
from effc.runtime import Model

LANGUAGE = ["llama-16m", "mamba-16m", "mamba2-16m", "llama-tiny", "mamba-tiny", "mamba2-tiny"]


def check_prompts(test, path, figures):
    """The four prompts: ids, the eight largest logits to 1e-3, 48 greedy ids."""
    model = Model(path)
    session = model.session()
    for prompt in figures["prompts"]:
        ids = model.tokenize(prompt["text"])
        test.assertEqual(ids.tolist(), prompt["ids"])
        session.reset(0)
        logits = session.prefill(0, ids)
        test.assertLess(np.abs(logits[prompt["last_top_ids"]] - prompt["last_top_logits"]).max(), 1e-3)
        greedy = session.greedy(0, len(prompt["greedy_ids"]), logits=logits)
        test.assertEqual(greedy, prompt["greedy_ids"])


class Examples(unittest.TestCase):
    """Need nothing but the repository."""

    def test_prompts(self):
        figures = golden()
        for name in ("llama-tiny", "mamba-tiny", "mamba2-tiny", "mamba2-16m"):
            with self.subTest(name):
                check_prompts(self, compiled(name), figures[name])

    def test_prompts_in_f32(self):
        check_prompts(self, compiled("mamba2-tiny", "--quant=f32"), golden()["mamba2-tiny"])


@need_data("models/golden.json")
class Language(unittest.TestCase):
    def test_prompts(self):
        for name in LANGUAGE:
            with self.subTest(name):
                check_prompts(self, compiled(str(exported(name))), golden()[name])

    def test_perplexity(self):
        """The 16-million-parameter models take minutes: benchmarks/run.py quality."""
        for name in ("llama-tiny", "mamba-tiny", "mamba2-tiny"):
            with self.subTest(name):
                result = json.loads(run("eval", compiled(str(exported(name))), "--ppl", DATA / "models/wiki_test.txt",
                                        "--window", golden()[name]["seq_len"], "--json").stdout)
                expected = golden()[name]["whole"]["perplexity"]
                self.assertEqual(result["windows"], golden()[name]["whole"]["windows"])
                self.assertLess(abs(result["perplexity"] / expected - 1), 1e-6)


@need_data("models/golden.json")
class Images(unittest.TestCase):
    def test_accuracy_and_predictions(self):
        for name in ("vit-cifar", "vmamba-cifar"):
            with self.subTest(name):
                path = compiled(str(exported(name)), "--batch=16")
                result = json.loads(run("eval", path, "--images", DATA / "models/cifar10-test.npz", "--json").stdout)
                figures = golden()[name]
                self.assertAlmostEqual(result["accuracy"], 100 * figures["accuracy"], delta=1e-6)
                key = next(k for k in figures if "predictions" in k)
                self.assertEqual(result["predictions"][:64], figures[key][:64])


if __name__ == "__main__":
    unittest.main()
