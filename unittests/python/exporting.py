"""A test case that runs the exporter in a directory of its own."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

from checkpoints import ROOT

sys.path.insert(0, str(ROOT / "python"))

from effc.export.cli import main  # noqa: E402


class ExportTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        self.out = self.dir / "out"
        self.out.mkdir()

    def run_command(self, *arguments) -> tuple:
        """(exit status, stdout, stderr)"""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([str(a) for a in arguments])
        return status, out.getvalue(), err.getvalue()

    def export(self, *arguments, name: str = "m.onnx") -> pathlib.Path:
        path = self.out / name
        status, _, err = self.run_command(*arguments, "-o", path)
        self.assertEqual(status, 0, err)
        return path

    def assert_refused(self, code: str, *arguments, says: tuple = (), output="m.onnx") -> str:
        """The command ends with 1, one error text that begins with the code, and no file."""
        status, out, err = self.run_command(*arguments, "-o", self.out / output)
        self.assertEqual(status, 1, err)
        self.assertEqual(out, "")
        self.assertTrue(err.startswith(f"error {code}: "), err)
        self.assertNotIn("Traceback", err)
        for text in says:
            self.assertIn(text, err)
        self.assertEqual(list(self.out.iterdir()) if self.out.is_dir() else [], [], "partial output")
        return err

    def write_json(self, name: str, value) -> pathlib.Path:
        path = self.dir / name
        path.write_text(json.dumps(value))
        return path
