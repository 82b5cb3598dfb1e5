"""Faults that users of comparable compilers reported: each case must come out right, or be refused where that is right.
Cases of tokenizers, streams and samplers are tests of the runtime; those of sequences in sessions are in
test_state_cases.py."""
import json
import subprocess
import unittest

from effc_tools import BUILD, DATA, SCRATCH, need_data, run

ARCHIVE = "onnx/bug-cases.tar.xz"
DRIVER = BUILD / "bin/effc-conformance"


@need_data(ARCHIVE)
@unittest.skipUnless(DRIVER.exists(), "effc-conformance is not built")
class BugCases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = SCRATCH / "bugs"
        cls.folder.mkdir()
        subprocess.run(["tar", "-xf", DATA / ARCHIVE, "-C", cls.folder], check=True)

    def run_at(self, level, way="static"):
        output = SCRATCH / f"bugs-{level}-{way}.json"
        result = subprocess.run([DRIVER, self.folder, "--level", level, "--way", way, "--jobs", "2", "--json", output],
                                capture_output=True, text=True)
        cases = json.loads(output.read_text())
        self.assertGreaterEqual(len(cases), 30, result.stdout + result.stderr)
        for case in cases:
            with self.subTest(case["name"], level=level, way=way):
                self.assertEqual(case["status"], "passed", case["reason"])

    def test_interpreted(self):
        self.run_at("literal")

    def test_raised(self):
        self.run_at("raised")

    def test_compiled(self):
        self.run_at("compiled")

    def test_compiled_without_shapes(self):
        self.run_at("compiled", "dynamic")

    def test_two_compilations_give_the_same_bytes(self):
        source = self.folder / "65-deterministic-artefact" / "model.onnx"
        files = []
        for name, jobs in (("one", 1), ("another-folder", 4)):
            folder = SCRATCH / name
            folder.mkdir()
            model = folder / "model.onnx"
            model.write_bytes(source.read_bytes())
            run("compile", model, "-o", folder / "model.eff", "-q", "-j", jobs, cwd=folder)
            files.append((folder / "model.eff").read_bytes())
        self.assertEqual(files[0], files[1])


if __name__ == "__main__":
    unittest.main()
