"""Rules of the tree that no compiler checks."""
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tracked(*suffixes):
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / n for n in names if n.endswith(suffixes) and (ROOT / n).is_file()]


@unittest.skipUnless((ROOT / ".git").exists(), "not a git checkout")
class Tree(unittest.TestCase):
    def test_errors_page_is_current_and_complete(self):
        run = subprocess.run([sys.executable, ROOT / "utils/error-docs.py", "--check"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_no_file_above_800_lines(self):
        long = [str(f) for f in tracked(".cpp", ".h", ".td", ".py", ".c") if len(f.read_text().splitlines()) > 800]
        self.assertEqual(long, [])

    def test_rewrite_results_are_checked(self):
        ignored = re.compile(r"\(void\)\s*(applyPatterns|applyPartial|applyFull|pm\.run|runPipeline|parse)")
        bad = [str(f) for f in tracked(".cpp", ".h") if ignored.search(f.read_text())]
        self.assertEqual(bad, [])

    def test_tracked_files_stay_small(self):
        total = sum(f.stat().st_size for f in tracked(""))
        self.assertLess(total, 40 << 20)


if __name__ == "__main__":
    unittest.main()
