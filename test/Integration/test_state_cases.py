"""Models that keep state, against what an independent runtime computed: recurrent states under padding, empty caches,
prompts that share a beginning."""
import functools
import json
import subprocess
import unittest

import numpy as np

from effc_tools import DATA, SCRATCH, compiled, need_data
from effc.runtime import Model

ARCHIVE = "onnx/bug-cases.tar.xz"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@functools.lru_cache(maxsize=None)
def case(name):
    """The folder of one case."""
    folder = SCRATCH / "cases"
    folder.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xf", DATA / ARCHIVE, "-C", folder, f"./{name}"], check=True)
    return folder / name


@functools.lru_cache(maxsize=None)
def model(name, *flags):
    """The compiled model of a case."""
    path = case(name) / "model.onnx"
    source = path.with_name(f"{name}.onnx")
    if not source.exists():
        source.write_bytes(path.read_bytes())
    return Model(compiled(source, *flags))


def tensor(path):
    from onnx import TensorProto, numpy_helper
    proto = TensorProto()
    proto.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(proto)


@need_data(ARCHIVE)
class RecurrentStates(unittest.TestCase):
    """Padding must not touch a state, and chunks must not show."""
    NAME = "42-ssm-padded-and-short-prompts"

    def setUp(self):
        sequence = json.loads((case(self.NAME) / "sequence.json").read_text())
        self.prompts, self.then = sequence["prompts"], sequence["then"]
        arrays = np.load(case(self.NAME) / "sequence.npz")
        self.expected = [arrays[f"logits_{i}"] for i in range(len(self.prompts))]

    def check(self, i, rows):
        np.testing.assert_allclose(np.concatenate([np.atleast_2d(r) for r in rows]), self.expected[i], **TOLERANCE)

    def alone(self, compiled_model, prompt):
        """Each sequence in a session of its own; `prompt` feeds one and gives its logits."""
        for i, ids in enumerate(self.prompts):
            session = compiled_model.session()
            self.check(i, prompt(session, ids) + [session.decode([0], [t]) for t in self.then[i]])

    def test_one_batch_of_two(self):
        session = model(self.NAME, "--batch=1,2", "--prefill=16").session(sequences=2)
        rows = [[session.score(i, ids)] for i, ids in enumerate(self.prompts)]
        for step in zip(*self.then):
            for i, logits in enumerate(session.decode([0, 1], step)):
                rows[i].append(logits)
        for i, given in enumerate(rows):
            self.check(i, given)

    def test_a_batch_of_two_from_the_first_token(self):
        """Token by token, together as long as both have tokens."""
        session = model(self.NAME, "--batch=1,2", "--prefill=16").session(sequences=2)
        ids = [p + t for p, t in zip(self.prompts, self.then)]
        rows = [[], []]
        for t in range(max(map(len, ids))):
            live = [i for i in (0, 1) if t < len(ids[i])]
            for i, logits in zip(live, session.decode(live, [ids[i][t] for i in live])):
                rows[i].append(logits)
        for i, given in enumerate(rows):
            self.check(i, given)

    def test_each_alone(self):
        exact = model(self.NAME, "--prefill=2,5")
        self.alone(exact, lambda session, ids: [session.score(0, ids)])

    def test_prompt_in_chunks_of_two(self):
        chunked = model(self.NAME, "--prefill=2")
        self.alone(chunked, lambda session, ids: [session.score(0, ids[i:i + 2]) for i in range(0, len(ids), 2)])

    def test_prompt_padded_to_16(self):
        padded = model(self.NAME, "--prefill=16")
        self.alone(padded, lambda session, ids: [session.score(0, ids)])

    def test_a_prefill_gives_the_last_logits(self):
        padded = model(self.NAME, "--prefill=16")
        for i, ids in enumerate(self.prompts):
            np.testing.assert_allclose(padded.session().prefill(0, ids), self.expected[i][len(ids) - 1], **TOLERANCE)


@need_data(ARCHIVE)
class EmptyCache(unittest.TestCase):
    """A cache of no tokens is a legal past."""
    NAME = "44-kv-empty-past"

    def data(self, i):
        folder = case(self.NAME) / f"test_data_set_{i}"
        return tensor(folder / "input_0.pb"), tensor(folder / "output_0.pb")

    def test_a_prompt_and_a_step_on_it(self):
        session = model(self.NAME, "--batch=1,2", "--prefill=16").session()
        for i in (0, 1):
            ids, logits = self.data(i)
            self.assertEqual(ids.shape[0], 1)
            np.testing.assert_allclose(session.score(0, ids[0]), logits[0], **TOLERANCE)

    def test_two_prompts_of_one_token(self):
        ids, logits = self.data(2)
        self.assertEqual(ids.shape, (2, 1))
        session = model(self.NAME, "--batch=1,2", "--prefill=16").session(sequences=2)
        np.testing.assert_allclose(session.decode([0, 1], ids[:, 0]), logits[:, 0], **TOLERANCE)


@need_data(ARCHIVE)
class PrefixReuse(unittest.TestCase):
    """What two prompts share is computed once; what they do not share never shows."""
    NAME = "46-prefix-reuse"

    def test_each_session_is_its_own_cold_run(self):
        prompts = json.loads((case(self.NAME) / "sequence.json").read_text())["sessions"]
        arrays = np.load(case(self.NAME) / "sessions.npz")
        session = model(self.NAME, "--prefill=16").session()
        before = []
        for i, ids in enumerate(prompts):
            # The last token is computed anew: its logits are wanted.
            shared = 0
            while shared < min(len(before), len(ids) - 1) and before[shared] == ids[shared]:
                shared += 1
            session.truncate(0, shared)
            np.testing.assert_allclose(session.score(0, ids[shared:]), arrays[f"logits_{i}"][shared:], **TOLERANCE)
            self.assertEqual(session.length(0), len(ids))
            before = ids


if __name__ == "__main__":
    unittest.main()
