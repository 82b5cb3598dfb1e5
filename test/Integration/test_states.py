"""What must not change a result: chunks, batches, threads, snapshots, the way of writing the file."""
import hashlib
import json
import subprocess
import unittest

import numpy as np

from effc_tools import BUILD, EFFC, EXAMPLES, SCRATCH, compiled, run
from effc.runtime import Error, Model

MODELS = ["llama-tiny", "mamba-tiny", "mamba2-tiny"]
BATCHES = "--batch=1,4"


def tokens(count, seed=0, vocab=1024):
    return np.random.default_rng(seed).integers(1, vocab, count, dtype=np.int32)


class Sequences(unittest.TestCase):
    def each(self):
        for name in MODELS:
            with self.subTest(name):
                yield Model(compiled(name, BATCHES))

    def test_prefill_in_chunks_is_token_by_token(self):
        """f32 sums of a few hundred terms in another order: 2e-4 of the largest logit."""
        ids = tokens(197)
        for model in self.each():
            session = model.session(sequences=2)
            whole = session.score(0, ids)
            steps = np.stack([session.decode([1], [t])[0] for t in ids])
            self.assertLess(np.abs(whole - steps).max(), 2e-4 * np.abs(steps).max())

    def test_any_split_gives_the_same(self):
        ids = tokens(150, 1)
        for model in self.each():
            session = model.session()
            whole = session.prefill(0, ids)
            for cut in (1, 2, 3, 15, 16, 17, 128, 149):
                session.reset(0)
                session.prefill(0, ids[:cut])
                self.assertLess(np.abs(session.prefill(0, ids[cut:]) - whole).max(), 2e-4 * np.abs(whole).max())

    def test_batch_of_four_is_four_times_one(self):
        for model in self.each():
            session, single = model.session(sequences=4), model.session()
            prompts = [tokens(n, n) for n in (3, 17, 1, 40)]
            for i, prompt in enumerate(prompts):
                session.prefill(i, prompt)
            following = tokens(4 * 8, 9).reshape(8, 4)
            together = [session.decode([0, 1, 2, 3], row) for row in following]
            for i, prompt in enumerate(prompts):
                single.reset(0)
                single.prefill(0, prompt)
                for t, row in enumerate(following):
                    alone = single.decode([0], [row[i]])[0]
                    self.assertLess(np.abs(together[t][i] - alone).max(), 2e-4 * np.abs(alone).max())

    def test_snapshot_and_restore_are_exact(self):
        for model in self.each():
            session = model.session()
            session.prefill(0, tokens(33, 2))
            snapshot = session.snapshot(0)
            first = [session.decode([0], [t])[0] for t in tokens(5, 3)]
            session.restore(0, snapshot)
            self.assertEqual(session.length(0), 33)
            again = [session.decode([0], [t])[0] for t in tokens(5, 3)]
            np.testing.assert_array_equal(first, again)

    def test_threads_give_the_same_bits(self):
        ids = tokens(60, 4)
        for model in self.each():
            scores = [model.session(threads=n).score(0, ids) for n in (1, 2)]
            np.testing.assert_array_equal(scores[0], scores[1])

    def test_truncation(self):
        ids = tokens(20, 5)
        model = Model(compiled("llama-tiny", BATCHES))
        session = model.session()
        session.prefill(0, ids)
        session.truncate(0, 7)
        after = session.prefill(0, ids[7:])
        session.reset(0)
        np.testing.assert_allclose(session.prefill(0, ids), after, atol=1e-3)
        recurrent = Model(compiled("mamba-tiny", BATCHES)).session()
        recurrent.prefill(0, ids)
        with self.assertRaises(Error):
            recurrent.truncate(0, 7)

    def test_the_capacity_holds(self):
        model = Model(compiled("llama-tiny", "--max-length=64", "--prefill=16"))
        session = model.session()
        session.prefill(0, tokens(60))
        with self.assertRaises(Error) as raised:
            session.prefill(0, tokens(5))
        self.assertEqual(raised.exception.code, 605)
        session.prefill(0, tokens(4))  # exactly full

    def test_ids_outside_the_vocabulary(self):
        session = Model(compiled("llama-tiny", BATCHES)).session()
        for bad in (1024, -1):
            with self.assertRaises(Error) as raised:
                session.prefill(0, [1, bad])
            self.assertEqual(raised.exception.code, 606)


class Reference(unittest.TestCase):
    def test_256_greedy_tokens(self):
        """As the interpreter writes them; the golden prompts check that ties are not an issue."""
        for name in MODELS:
            with self.subTest(name):
                flags = ["-p", "The river", "-n", "256", "--json"]
                reference = json.loads(run("run", EXAMPLES / f"{name}.onnx", "--reference", *flags).stdout)
                ours = json.loads(run("run", compiled(name, "--quant=f32"), "--ignore-eos", *flags).stdout)
                self.assertEqual(ours["ids"], reference["ids"])


class Files(unittest.TestCase):
    def digest(self, name, *flags):
        output = SCRATCH / f"same-{name}.eff"
        run("compile", EXAMPLES / f"{name}.onnx", "-o", output, "-q", *flags)
        return hashlib.sha256(output.read_bytes()).hexdigest()

    def test_the_same_bytes_whatever_the_number_of_threads(self):
        for name in MODELS:
            with self.subTest(name):
                self.assertEqual(self.digest(name, "-j1"), self.digest(name, "-j2"))

    def test_two_targets_in_one_file(self):
        path = compiled("mamba2-tiny", "--target=x86-64-v2,x86-64-v3,x86-64-v4")
        targets = json.loads(run("inspect", path, "--json").stdout)["targets"]
        self.assertEqual([t["name"] for t in targets], ["x86-64-v4", "x86-64-v3", "x86-64-v2"])
        texts = []
        for disabled in ("", "x86-64-v4", "x86-64-v3"):
            texts.append(subprocess.run(["env", f"EFFRT_DISABLE_FEATURES={disabled}", str(EFFC), "run",
                                         str(path), "-p", "The river", "-n", "24", "-q"],
                                        capture_output=True, text=True, check=True).stdout)
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(texts[0], texts[2])

    def test_an_executable(self):
        program = SCRATCH / "writer"
        run("compile", EXAMPLES / "mamba2-tiny.onnx", "--emit=exe", "-o", program, "-q")
        text = subprocess.run([program, "-p", "The river", "-n", "16", "-q"], capture_output=True, text=True, check=True)
        self.assertEqual(text.stdout, run("run", compiled("mamba2-tiny"), "-p", "The river", "-n", "16", "-q").stdout)

    def test_code_and_runtime_are_small(self):
        """The runner and the code of two layers' kinds; weights and the tokenizer are the model's own."""
        code = json.loads(run("inspect", compiled("llama-tiny"), "--json").stdout)["file"]["code_bytes"]
        self.assertLess((BUILD / "bin/effrun").stat().st_size + code, 2 << 20)


if __name__ == "__main__":
    unittest.main()
