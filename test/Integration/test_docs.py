"""The pages whose IR and commands effc writes."""
import os
import subprocess
import sys
import unittest

from effc_tools import BUILD, ROOT


class Pages(unittest.TestCase):
    def test_the_walk_through_the_levels_is_current(self):
        check = subprocess.run([sys.executable, ROOT / "utils/architecture-walk.py", "--check"], capture_output=True,
                               text=True, env={**os.environ, "EFFC_BUILD": str(BUILD)})
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_the_table_of_operators_is_current(self):
        check = subprocess.run([sys.executable, ROOT / "utils/onnx-support.py", "--check"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_the_table_of_exporter_files_is_current(self):
        check = subprocess.run([sys.executable, ROOT / "utils/exporter-table.py", "--check"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)


if __name__ == "__main__":
    unittest.main()
